"""Reads the state of a drawn character off its crop: expression, pose, facing, distance (a judge; the paper has none).

A small convolutional network with one linear head per attribute on its last map, since what tells a pose or a mouth
stands at a known place of the crop. It is made for drawn worlds, where the truth is known, and for nothing else.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diffsensei.foundations.views import as_input, squashed

BATCH_SIZE = 128
_STRIDE = 8


class StateProbe(nn.Module):
    """``widths`` are the channels at strides 1, 2, 4 and 8; crops are squashed to squares of ``side`` pixels.

    ``values`` names for each attribute what it can be; ``held_out_accuracy`` is how often the probe is right about it
    on true crops that no training saw.
    """

    def __init__(
        self,
        widths: Sequence[int],
        side: int,
        values: Mapping[str, Sequence[str]],
        held_out_accuracy: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        first, second, third, fourth = widths
        self.widths, self.side = tuple(widths), side
        self.values = {name: tuple(options) for name, options in values.items()}
        self.held_out_accuracy = dict(held_out_accuracy or {})
        self.body = nn.Sequential(
            _conv(1, first),
            _conv(first, second, stride=2),
            _conv(second, second),
            _conv(second, third, stride=2),
            _conv(third, third),
            _conv(third, fourth, stride=2),
            _conv(fourth, fourth),
        )
        self.dropout = nn.Dropout(0.3)
        features = fourth * (side // _STRIDE) ** 2
        self.heads = nn.ModuleDict({name: nn.Linear(features, len(v)) for name, v in self.values.items()})

    def config(self) -> dict[str, object]:
        """What `__init__` takes, as stored in config.json."""
        return {
            "widths": self.widths,
            "side": self.side,
            "values": self.values,
            "held_out_accuracy": self.held_out_accuracy,
        }

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Pixels (B, 1, side, side) in [-1, 1] to logits (B, number of values) per attribute."""
        features = self.dropout(self.body(pixels).flatten(1))
        return {name: head(features) for name, head in self.heads.items()}

    @torch.inference_mode()
    def logits(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Logits (n, all values) of grey crops (H, W) of any size, the attributes in the order of ``values``."""
        device = next(self.parameters()).device
        found = [np.zeros((0, sum(map(len, self.values.values()))), np.float32)]
        for start in range(0, len(crops), BATCH_SIZE):
            pixels = as_input(squashed(crops[start : start + BATCH_SIZE], self.side))[:, :1].to(device)
            found.append(torch.cat(list(self(pixels).values()), dim=1).float().cpu().numpy())
        return np.concatenate(found)

    def answers(self, logits: NDArray[np.floating]) -> dict[str, str]:
        """The likeliest value of each attribute, from one row of `logits`."""
        found, start = {}, 0
        for name, options in self.values.items():
            found[name] = options[int(np.argmax(logits[start : start + len(options)]))]
            start += len(options)
        return found


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False), nn.GroupNorm(8, outputs), nn.SiLU()
    )
