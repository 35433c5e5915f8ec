"""Attention processors: text cross-attention plus masked character cross-attention (paper sec. 4.1, eq. 2).

They are installed on diffusers' `Attention` modules; the parameter names are those of released checkpoints.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch.nn.functional as F
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, nn

from diffsensei.models.region import LevelRegion

Projections = tuple[Tensor, ...]
"""Keys and values of text, and of characters."""


class SelfAttention(AttnProcessor2_0):
    """Stock self-attention that accepts, and has no use for, the region handed to every layer of a block."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        region: LevelRegion | None = None,
    ) -> Tensor:
        return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, temb)


class CharacterCrossAttention(nn.Module):
    """softmax(Q Kt) Vt + scale * softmax(Q Kc + mask) Vc: the query is shared, the character K and V are its own."""

    def __init__(self, attn: Attention) -> None:
        """Keys and values for characters start as copies of ``attn``'s for text."""
        super().__init__()
        width, inner = attn.to_k.in_features, attn.to_k.out_features
        assert attn.to_k.bias is None, "SDXL's cross-attention has no biases"
        assert attn.group_norm is None, "the stock block normalises before attention"
        assert not attn.residual_connection, "the stock block adds the residual"
        assert attn.rescale_output_factor == 1, "the stock block does not rescale"
        self.to_k_ip: nn.Linear = nn.Linear(width, inner, bias=False, device="meta")
        self.to_v_ip: nn.Linear = nn.Linear(width, inner, bias=False, device="meta")
        self.to_k_ip.weight = nn.Parameter(attn.to_k.weight.detach().clone())
        self.to_v_ip.weight = nn.Parameter(attn.to_v.weight.detach().clone())
        self.kept: Projections | None = None
        """Keys and values of the conditions at hand, while `keeping` lends them."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        region: LevelRegion | None = None,
    ) -> Tensor:
        """``hidden_states`` (B, L, inner), ``encoder_hidden_states`` (B, T, C) the text alone -> (B, L, inner).

        This overrides ``__call__`` and not ``forward`` because `Attention` reads its signature.
        """
        assert encoder_hidden_states is not None
        query = _heads(attn.to_q(hidden_states), attn.heads)
        of_characters = None if region is None else region.character_tokens
        text_key, text_value, *character = self.kept or self.project(attn, encoder_hidden_states, of_characters)
        mixed = F.scaled_dot_product_attention(query, text_key, text_value, attn_mask=attention_mask)
        if region is not None:
            key, value = character
            mixed = mixed + region.scale * F.scaled_dot_product_attention(query, key, value, attn_mask=region.mask)
        mixed = mixed.transpose(1, 2).flatten(2)
        return attn.to_out[1](attn.to_out[0](mixed))

    def project(self, attn: Attention, text_tokens: Tensor, character_tokens: Tensor | None) -> Projections:
        """Keys and values (B, heads, tokens, inner / heads) of text and, where there are, of characters."""
        projected = [attn.to_k(text_tokens), attn.to_v(text_tokens)]
        if character_tokens is not None:
            projected += [self.to_k_ip(character_tokens), self.to_v_ip(character_tokens)]
        return tuple(_heads(tokens, attn.heads) for tokens in projected)


Kept = Mapping[CharacterCrossAttention, Projections]


def project_all(unet: nn.Module, text_tokens: Tensor, character_tokens: Tensor) -> Kept:
    """Keys and values of every character attention of ``unet``; they hold while conditions and weights stay."""
    return {
        layer.processor: layer.processor.project(layer, text_tokens, character_tokens)
        for layer in unet.modules()
        if isinstance(layer, Attention) and isinstance(layer.processor, CharacterCrossAttention)
    }


@contextmanager
def keeping(kept: Kept) -> Iterator[None]:
    """Inside, the layers read what is ``kept``. It lies with each layer and not in a table that all share, so that
    the layers of a compiled network need no graph each."""
    for processor, projections in kept.items():
        processor.kept = projections
    try:
        yield
    finally:
        for processor in kept:
            processor.kept = None


def _heads(tokens: Tensor, heads: int) -> Tensor:
    """(B, L, inner) -> (B, heads, L, inner / heads)."""
    return tokens.unflatten(-1, (heads, -1)).transpose(1, 2)
