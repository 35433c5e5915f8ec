"""The two resamplers around the story's language model: features into slots, and slots back into features."""

import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor

from diffsensei.models.agent_resampler import AgentResampler


class GridResampler(AgentResampler):
    """One cross-attention from learnt queries on a square grid to tokens on another (Qwen-VL's, as in SEED-X)."""

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, n, kv_dim) -> (B, num_tokens, embed_dim); the queries' positions, resized to the tokens' grid, tell both
        where to look."""
        tokens = self.ln_kv(self.kv_proj(tokens))
        query = (self.ln_q(self.query) + self.pos_embed).expand(len(tokens), -1, -1)
        return self.attn(query, tokens + on_grid(self.pos_embed, tokens.shape[1]), tokens, need_weights=False)[0]


def on_grid(positions: Tensor, count: int) -> Tensor:
    """(n, dim) positions of a square grid, bicubically resized to one of ``count`` cells."""
    if len(positions) == count:
        return positions
    old, new = round(len(positions) ** 0.5), round(count**0.5)
    grid = positions.view(1, old, old, -1).permute(0, 3, 1, 2).float()
    resized = F.interpolate(grid, size=(new, new), mode="bicubic", align_corners=False)
    return resized.flatten(2)[0].T.to(positions.dtype)


class StoryResamplers(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """P feature tokens of ``feature_dim`` into S slots of the language model's width, and S slots back."""

    @register_to_config
    def __init__(self, num_slots: int, num_features: int, feature_dim: int, llm_dim: int, heads: int) -> None:
        super().__init__()
        self.input_resampler = GridResampler(num_slots, embed_dim=llm_dim, heads=heads, kv_dim=feature_dim)
        self.output_resampler = GridResampler(num_features, embed_dim=feature_dim, heads=heads, kv_dim=llm_dim)


def cosine_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """1 - cos, averaged over tokens: (B, P, D) each."""
    return (1.0 - F.cosine_similarity(predicted.float(), target.float(), dim=-1)).mean()
