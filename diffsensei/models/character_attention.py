"""Attention processors: text cross-attention plus masked character cross-attention (paper sec. 4.1, eq. 2).

They are installed on diffusers' `Attention` modules; the parameter names are those of released checkpoints.
"""

import torch.nn.functional as F
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, nn

from diffsensei.models.region import LevelRegion


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
        text_key, text_value, *character = self._projected(attn, encoder_hidden_states, region)
        mixed = F.scaled_dot_product_attention(query, text_key, text_value, attn_mask=attention_mask)
        if region is not None:
            key, value = character
            mixed = mixed + region.scale * F.scaled_dot_product_attention(query, key, value, attn_mask=region.mask)
        mixed = mixed.transpose(1, 2).flatten(2)
        return attn.to_out[1](attn.to_out[0](mixed))

    def _projected(self, attn: Attention, text_tokens: Tensor, region: LevelRegion | None) -> tuple[Tensor, ...]:
        kept = region.projections if region is not None else None
        if kept is not None and id(self) in kept:
            return kept[id(self)]
        projected = [attn.to_k(text_tokens), attn.to_v(text_tokens)]
        if region is not None:
            projected += [self.to_k_ip(region.character_tokens), self.to_v_ip(region.character_tokens)]
        result = tuple(_heads(tokens, attn.heads) for tokens in projected)
        if kept is not None:
            kept[id(self)] = result
        return result


def _heads(tokens: Tensor, heads: int) -> Tensor:
    """(B, L, inner) -> (B, heads, L, inner / heads)."""
    return tokens.unflatten(-1, (heads, -1)).transpose(1, 2)
