"""The de-tokenizer's ears: image features to the two text conditions of an SDXL that sees no text.

Names and shapes are those of the published de-tokenizer's ``resampler``.
"""

from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from diffsensei.models.resampler import PerceiverAttention, feed_forward


class FeatureResampler(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """(B, P, feature_dim) -> prompt embeddings (B, num_queries, first + second) and pooled (B, pooled_dim)."""

    @register_to_config
    def __init__(
        self,
        feature_dim: int,
        dim: int,
        depth: int,
        heads: int,
        head_dim: int,
        num_queries: int,
        first_dim: int,
        second_dim: int,
        pooled_dim: int,
    ) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(1, num_queries, dim) / dim**0.5)
        self.proj_in = nn.Linear(feature_dim, dim)
        self.layers = nn.ModuleList(
            nn.ModuleList([PerceiverAttention(dim, heads, head_dim), feed_forward(dim)]) for _ in range(depth)
        )
        self.norm_out = nn.LayerNorm(dim)
        self.unet_proj_1 = nn.Linear(dim, first_dim)
        self.unet_proj_2 = nn.Linear(dim, second_dim)
        self.unet_attnpool = AttentionPool(num_queries, dim, heads, pooled_dim)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features are normalised along the token axis, as the published weights were trained."""
        image_tokens = self.proj_in(F.normalize(features.to(self.dtype), dim=1))
        latents = self.latents.expand(len(features), -1, -1)
        for attention, mlp in cast(Iterable[tuple[nn.Module, nn.Module]], self.layers):
            latents = latents + attention(image_tokens, latents)
            latents = latents + mlp(latents)
        tokens = self.norm_out(latents)
        prompt = torch.cat([self.unet_proj_1(tokens), self.unet_proj_2(tokens)], dim=-1)
        return prompt, self.unet_attnpool(tokens)


class AttentionPool(nn.Module):
    """CLIP's attention pooling of a sequence: the mean token asks all tokens and itself."""

    def __init__(self, length: int, dim: int, heads: int, output_dim: int) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(length + 1, dim) / dim**0.5)
        self.q_proj, self.k_proj, self.v_proj = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.c_proj = nn.Linear(dim, output_dim)
        self._heads = heads

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, length, dim) -> (B, output_dim)."""
        tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1) + self.positional_embedding
        query, key, value = (
            layer(part).unflatten(-1, (self._heads, -1)).transpose(1, 2)
            for layer, part in ((self.q_proj, tokens[:, :1]), (self.k_proj, tokens), (self.v_proj, tokens))
        )
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return self.c_proj(mixed[:, 0])
