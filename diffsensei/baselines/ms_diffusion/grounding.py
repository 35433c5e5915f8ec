"""The grounding resampler: a subject's image tokens, read by queries that know its phrase and box (sec. 3.2).

Tensor names and shapes are those of ``image_proj`` in the published adapter.
"""

from collections.abc import Iterable
from typing import cast

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from diffsensei.models.resampler import PerceiverAttention, feed_forward

NUM_FREQUENCIES = 8
LARGEST_FREQUENCY = 100.0
"""Radians per panel edge; frequency k is this to the power k / `NUM_FREQUENCIES` (published code)."""


class GroundingResampler(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Q tokens for each of N subjects. Legend: S image tokens of ``clip_dim``, phrases of ``phrase_dim``."""

    @register_to_config
    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        head_dim: int,
        num_queries: int,
        clip_dim: int,
        phrase_dim: int,
        output_dim: int,
    ) -> None:
        super().__init__()
        grounded = phrase_dim + 2 * 4 * NUM_FREQUENCIES
        self.grounding_latents = nn.Parameter(torch.randn(1, num_queries, dim) / dim**0.5)
        self.latent_proj = nn.Sequential(
            nn.Linear(grounded, 2 * grounded), nn.GELU(), nn.Linear(2 * grounded, num_queries * dim)
        )
        self.latent_norm = nn.LayerNorm(dim)
        self.proj_in = nn.Linear(clip_dim, dim)
        self.layers = nn.ModuleList(
            nn.ModuleList([PerceiverAttention(dim, heads, head_dim), feed_forward(dim)]) for _ in range(depth)
        )
        self.attention_norm = nn.LayerNorm(dim)
        self.proj_out = nn.Linear(dim, output_dim)
        self.norm_out = nn.LayerNorm(output_dim)

    def forward(self, clip_tokens: Tensor, boxes: Tensor, exists: Tensor, phrase: Tensor, grounded: Tensor) -> Tensor:
        """(B, N, S, clip_dim), (B, N, 4), (B, N) bool, (phrase_dim,), (B,) bool -> (B, Q + N*Q, output_dim).

        The first Q tokens are 0, and so are those of slots without a subject: a key without bias makes them say
        nothing, which is what positions outside all boxes are to read. Panels that are not ``grounded`` get the learnt
        queries. Only subjects that exist are computed.
        """
        batch, slots = exists.shape
        present = exists.flatten().nonzero().squeeze(1)
        image_tokens = self.proj_in(clip_tokens.flatten(0, 1)[present])
        about = torch.cat(
            [phrase.expand(len(present), -1), box_features(boxes.flatten(0, 1)[present]).to(phrase.dtype)], dim=-1
        )
        queries = self.latent_norm(self.latent_proj(about).unflatten(-1, self.grounding_latents.shape[1:]))
        knows = grounded.repeat_interleave(slots)[present][:, None, None]
        latents = torch.where(knows, queries, self.grounding_latents.to(queries.dtype))
        for attention, mlp in cast(Iterable[tuple[nn.Module, nn.Module]], self.layers):
            latents = latents + attention(image_tokens, latents)
            latents = latents + mlp(latents)
        tokens = self.norm_out(self.proj_out(self.attention_norm(latents)))
        slot_tokens = tokens.new_zeros(batch * slots, *tokens.shape[1:]).index_copy(0, present, tokens)
        nothing = tokens.new_zeros(batch, *tokens.shape[1:])
        return torch.cat([nothing, slot_tokens.view(batch, -1, tokens.shape[-1])], dim=1)


def box_features(boxes: Tensor) -> Tensor:
    """(..., 4) xyxy in [0, 1] -> (..., 64) float32, by frequency: the sines of all sides, then the cosines."""
    powers = torch.arange(NUM_FREQUENCIES, device=boxes.device) / NUM_FREQUENCIES
    angles = boxes.float().unsqueeze(-2) * (LARGEST_FREQUENCY**powers).unsqueeze(-1)
    return torch.stack([angles.sin(), angles.cos()], dim=-2).flatten(-3)
