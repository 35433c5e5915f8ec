"""The feature extractor: image features of a character to a few tokens (paper sec. 4.1; IP-Adapter-Plus, "perceiver").

Tensor names and shapes are those of IP-Adapter-Plus plus ``proj_in_magi`` and ``dummy_tokens`` of DiffSensei.
"""

from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn


class PerceiverAttention(nn.Module):
    """Latents attend to image tokens and to themselves."""

    def __init__(self, dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        inner = heads * head_dim
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, inner, bias=False)
        self.to_kv = nn.Linear(dim, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, dim, bias=False)

    def forward(self, image_tokens: Tensor, latents: Tensor) -> Tensor:
        """(K, S, dim), (K, Q, dim) -> (K, Q, dim)."""
        image_tokens, latents = self.norm1(image_tokens), self.norm2(latents)
        key, value = self.to_kv(torch.cat([image_tokens, latents], dim=1)).chunk(2, dim=-1)
        query, key, value = (
            tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2) for tokens in (self.to_q(latents), key, value)
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.to_out(mixed.transpose(1, 2).flatten(2))


def feed_forward(dim: int, multiple: int = 4) -> nn.Sequential:
    """LayerNorm, then two bias-free linears around an exact GELU; list positions are part of the names."""
    return nn.Sequential(
        nn.LayerNorm(dim),
        nn.Linear(dim, multiple * dim, bias=False),
        nn.GELU(),
        nn.Linear(multiple * dim, dim, bias=False),
    )


class Resampler(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Per character Q tokens of the UNet's cross-attention width, preceded by Q learnt background tokens.

    The background tokens (``dummy_tokens``) are free parameters in output space, the same for every panel: what
    positions outside all character boxes attend to.
    """

    @register_to_config
    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        head_dim: int,
        num_queries: int,
        clip_dim: int,
        magi_dim: int,
        output_dim: int,
        magi: bool = True,
        magi_patches: str = "all",
        empty_slots: str = "zero",
    ) -> None:
        """``magi_patches`` and ``empty_slots`` (`FidelityConfig`) are recorded for whoever feeds it in inference."""
        super().__init__()
        self.latents = nn.Parameter(torch.randn(1, num_queries, dim) / dim**0.5)
        self.proj_in = nn.Linear(clip_dim, dim)
        self.proj_in_magi = nn.Linear(magi_dim, dim) if magi else None
        self.layers = nn.ModuleList(
            nn.ModuleList([PerceiverAttention(dim, heads, head_dim), feed_forward(dim)]) for _ in range(depth)
        )
        self.proj_out = nn.Linear(dim, output_dim)
        self.norm_out = nn.LayerNorm(output_dim)
        self.dummy_tokens = nn.Parameter(torch.randn(num_queries, output_dim))

    def forward(self, clip_tokens: Tensor, magi_cls: Tensor, exists: Tensor) -> Tensor:
        """(B, N, S, clip_dim), (B, N, magi_dim), (B, N) bool -> (B, Q + N*Q, output_dim), background tokens first.

        Only characters that exist are computed; the tokens of the other slots are exactly 0. Without any, the same
        graph runs on no rows, so that every parameter still receives a (zero) gradient, as DDP requires.
        """
        batch, slots = exists.shape
        present = exists.flatten().nonzero().squeeze(1)
        image_tokens = self.proj_in(clip_tokens.flatten(0, 1)[present])
        if self.proj_in_magi is not None:
            magi_token = self.proj_in_magi(magi_cls.flatten(0, 1)[present]).unsqueeze(1)
            image_tokens = torch.cat([image_tokens, magi_token], dim=1)
        latents = self.latents.expand(len(present), -1, -1)
        for attention, mlp in cast(Iterable[tuple[nn.Module, nn.Module]], self.layers):
            latents = latents + attention(image_tokens, latents)
            latents = latents + mlp(latents)
        tokens = self.norm_out(self.proj_out(latents))
        slot_tokens = tokens.new_zeros(batch * slots, *tokens.shape[1:]).index_copy(0, present, tokens)
        background = self.dummy_tokens.to(tokens.dtype).expand(batch, -1, -1)
        return torch.cat([background, slot_tokens.view(batch, -1, tokens.shape[-1])], dim=1)
