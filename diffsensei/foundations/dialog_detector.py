"""Finds dialog bubbles in a panel: the judge of dialog placement (paper sec. 5.1 uses Magi's detector).

Fully convolutional, anchor-free: at every cell of a grid of stride 4 it gives the score that a bubble is centred there
and the distances to the bubble's four sides, so boxes are exact below a pixel. Panels may have any size.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from diffsensei.geometry import suppress_overlaps

STRIDE = 4
_COARSEST = 16
"""Panels are padded to a multiple of this."""


@dataclass(frozen=True)
class Detections:
    """``boxes_xyxy`` float32 (K, 4) in pixels of the image, inside it; ``scores`` float32 (K,) in [0, 1], falling."""

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]


class DialogDetector(Protocol):
    def detect(self, images: list[NDArray[np.uint8]], threshold: float) -> list[Detections]:
        """Dialogs scoring at least ``threshold`` in each image, HxW grey or HxWx3."""
        ...


class HeatmapDetector(nn.Module):
    """`DialogDetector` with an encoder of four levels and a decoder back to stride 4.

    ``widths`` are the channels at strides 2, 4, 8 and 16; ``nms_iou``: of two boxes that overlap more, the lower
    scoring one goes.
    """

    def __init__(self, widths: list[int], nms_iou: float = 0.4) -> None:
        super().__init__()
        first, second, third, fourth = widths
        self.widths = list(widths)
        self.nms_iou = nms_iou
        self.down_2 = nn.Sequential(_conv(1, first, stride=2), _conv(first, first))
        self.down_4 = nn.Sequential(_conv(first, second, stride=2), _conv(second, second))
        self.down_8 = nn.Sequential(_conv(second, third, stride=2), _conv(third, third))
        self.down_16 = nn.Sequential(_conv(third, fourth, stride=2), _conv(fourth, fourth))
        self.up_8 = _conv(third + fourth, third)
        self.up_4 = nn.Sequential(_conv(second + third, third), _conv(third, third))
        self.heat = nn.Conv2d(third, 1, 1)
        self.sides = nn.Conv2d(third, 4, 1)

    def config(self) -> dict[str, object]:
        """What `__init__` takes, as stored in config.json."""
        return {"widths": self.widths, "nms_iou": self.nms_iou}

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (B, 1, h, w) in [0, 1], h and w multiples of 16.

        Returns logits (B, h/4, w/4) and boxes (B, 4, h/4, w/4) xyxy in pixels.
        """
        x2 = self.down_2(pixels - 0.5)
        x4 = self.down_4(x2)
        x8 = self.down_8(x4)
        x16 = self.down_16(x8)
        x8 = self.up_8(torch.cat([x8, functional.interpolate(x16, scale_factor=2.0)], dim=1))
        x4 = self.up_4(torch.cat([x4, functional.interpolate(x8, scale_factor=2.0)], dim=1))
        sides = functional.softplus(self.sides(x4)) * STRIDE
        x, y = cell_centres(x4.shape[-2], x4.shape[-1], pixels.device)
        left, top, right, bottom = sides.unbind(1)
        boxes = torch.stack([x - left, y - top, x + right, y + bottom], dim=1)
        return self.heat(x4).squeeze(1), boxes

    @torch.inference_mode()
    def detect(self, images: list[NDArray[np.uint8]], threshold: float) -> list[Detections]:
        """Dialogs scoring at least ``threshold`` in each image, HxW grey or HxWx3. Raises ValueError for others."""
        return [self._detect_one(image, threshold) for image in images]

    def _detect_one(self, image: NDArray[np.uint8], threshold: float) -> Detections:
        grey = _grey(image)
        height, width = grey.shape
        pixels = torch.from_numpy(grey)[None, None] / 255
        padding = (0, -width % _COARSEST, 0, -height % _COARSEST)
        pixels = functional.pad(pixels, padding, value=1.0).to(self.heat.weight.device)
        logits, boxes = self(pixels)
        scores = logits[0].sigmoid()
        # A peak is the best cell of its 3x3 neighbourhood: its neighbours see the same bubble.
        peaks = scores == functional.max_pool2d(scores[None], 3, stride=1, padding=1)[0]
        rows, columns = torch.nonzero(peaks & (scores >= threshold), as_tuple=True)
        found = boxes[0, :, rows, columns].T.cpu().numpy().astype(np.float32)
        found = np.clip(found, 0, np.array([width, height] * 2, dtype=np.float32))
        found_scores = scores[rows, columns].cpu().numpy().astype(np.float32)
        kept = suppress_overlaps(found, found_scores, self.nms_iou)
        return Detections(found[kept], found_scores[kept])


def cell_centres(rows: int, columns: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """x (1, columns) and y (rows, 1), in pixels, of the centres of the grid's cells."""
    x = (torch.arange(columns, device=device) + 0.5) * STRIDE
    y = (torch.arange(rows, device=device) + 0.5) * STRIDE
    return x[None, :], y[:, None]


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False), nn.GroupNorm(8, outputs), nn.SiLU()
    )


def _grey(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ValueError(f"expected uint8 images HxW or HxWx3, got {image.dtype} {image.shape}")
    return (image if image.ndim == 2 else image.mean(axis=2)).astype(np.float32)
