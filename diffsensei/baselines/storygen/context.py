"""The visual-language context: features that the same UNet has of earlier panels, read by an attention of their own.

In a block, x becomes h by self-attention. Of an earlier panel, h is kept. A panel to draw becomes
h' = [h + attn2(norm2 h, text)] + [h + attn3(norm4 h, F)], with F the kept features of all earlier panels: h counts
twice (published code). The block's own forward is untouched: ``norm2`` remembers what it was given, and the processor
of ``attn2`` adds the second bracket.
"""

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from diffsensei.baselines.stock_attention import StockAttention

Features = dict[str, Tensor]
"""Layer -> features; the name is that of the layer, so that any size of panel finds its own."""


@dataclass
class Keep:
    """Keep what every block has of earlier panels (K of them)."""

    features: Features = field(default_factory=dict)
    """(K, L, C)."""


@dataclass(frozen=True)
class Read:
    """Read what was kept."""

    features: Features
    """(B, m, C): the features of all panels before each of B, behind one another."""


Context = Keep | Read


class RememberingNorm(nn.LayerNorm):
    """A LayerNorm that hands out once what it was last given."""

    def forward(self, input: Tensor) -> Tensor:
        self._given: Tensor | None = input
        return super().forward(input)

    def take(self) -> Tensor:
        """The last input; forgotten thereby."""
        given, self._given = self._given, None
        assert given is not None, "attention follows its norm"
        return given


class ContextAttention:
    """``attn2``'s processor: text, and the context of ``block`` beside it."""

    def __init__(self, layer: str, block: Any) -> None:
        self._layer, self._block, self._text = layer, block, AttnProcessor2_0()

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        condition: Context | None = None,
    ) -> Tensor:
        """``hidden_states`` (B, L, C) normed, ``encoder_hidden_states`` (B, T, text) -> (B, L, C)."""
        block = self._block
        before_text = block.norm2.take()
        text = self._text(attn, hidden_states, encoder_hidden_states, attention_mask)
        if isinstance(condition, Keep):
            condition.features[self._layer] = before_text
        if isinstance(condition, Read):
            features = condition.features[self._layer]
            text = text + before_text + block.attn3(block.norm4(before_text), encoder_hidden_states=features)
        return text


def add_context(unet: UNet2DConditionModel) -> None:
    """Install ``attn3`` and ``norm4`` in every block, in place; they start as copies of ``attn1`` and ``norm1``."""
    blocks: dict[str, Any] = {
        name: module for name, module in unet.named_modules() if isinstance(module, BasicTransformerBlock)
    }
    for block in blocks.values():
        block.attn3, block.norm4 = copy.deepcopy(block.attn1), copy.deepcopy(block.norm1)
        remembering = RememberingNorm(block.norm2.normalized_shape, block.norm2.eps)
        remembering.weight, remembering.bias = block.norm2.weight, block.norm2.bias
        block.norm2 = remembering
    processors = {
        name: ContextAttention(name, blocks[name.removesuffix(".attn2.processor")])
        if name.endswith("attn2.processor")
        else StockAttention()
        for name in unet.attn_processors
    }
    unet.set_attn_processor(processors)  # type: ignore[arg-type]


def behind_one_another(features: Features, per_panel: int) -> Features:
    """Kept features (B*n, L, C) of n = ``per_panel`` earlier panels each, oldest first -> (B, n*L, C)."""
    return {layer: kept.unflatten(0, (-1, per_panel)).flatten(1, 2) for layer, kept in features.items()}


def reference_timesteps(timesteps: Tensor, count: int) -> Tensor:
    """(B,) -> (B, count): earlier panel i of n, 0 the oldest, has the noise of floor(t / 10) * (n - i): the newest is
    the cleanest."""
    ranks = torch.arange(count, 0, -1, device=timesteps.device)
    return torch.div(timesteps, 10, rounding_mode="floor").unsqueeze(1) * ranks
