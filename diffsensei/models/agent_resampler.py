"""The two resamplers around the language model (paper sec. 4.2; Qwen-VL's single cross-attention, as in SEED-X).

Tensor names are those of released agent files: ``input_resampler.*`` and ``output_resampler.*``.
"""

import math

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

INIT_STD = 0.02


class AgentResampler(nn.Module):
    """``num_tokens`` learnt queries, laid out on a square grid, read ``num_tokens`` tokens of another width."""

    pos_embed: Tensor

    def __init__(self, num_tokens: int, embed_dim: int, heads: int, kv_dim: int) -> None:
        super().__init__()
        self.register_buffer("pos_embed", grid_positions(num_tokens, embed_dim))
        self.query = nn.Parameter(torch.empty(num_tokens, embed_dim))
        self.kv_proj = nn.Identity() if kv_dim == embed_dim else nn.Linear(kv_dim, embed_dim, bias=False)
        self.attn = nn.MultiheadAttention(embed_dim, heads, batch_first=True)
        self.ln_q = nn.LayerNorm(embed_dim)
        self.ln_kv = nn.LayerNorm(embed_dim)
        weights = [self.query, self.attn.out_proj.weight]
        weights += [self.kv_proj.weight] if isinstance(self.kv_proj, nn.Linear) else []
        for weight in weights:
            nn.init.trunc_normal_(weight, std=INIT_STD)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, num_tokens, kv_dim) -> (B, num_tokens, embed_dim). Positions steer where to look, not what is read."""
        tokens = self.ln_kv(self.kv_proj(tokens))
        query = (self.ln_q(self.query) + self.pos_embed).expand(len(tokens), -1, -1)
        return self.attn(query, tokens + self.pos_embed, tokens, need_weights=False)[0]


class AgentResamplers(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Character tokens into the language model's width, and its hidden states back."""

    @register_to_config
    def __init__(self, num_tokens: int, token_dim: int, llm_dim: int, heads: int) -> None:
        super().__init__()
        self.input_resampler = AgentResampler(num_tokens, embed_dim=llm_dim, heads=heads, kv_dim=token_dim)
        self.output_resampler = AgentResampler(num_tokens, embed_dim=token_dim, heads=heads, kv_dim=llm_dim)


def grid_positions(num_tokens: int, dim: int) -> Tensor:
    """(num_tokens, dim) sines and cosines of a square grid: first half of the channels column, second half row.

    Raises ValueError unless ``num_tokens`` is a square and ``dim`` a multiple of 4.
    """
    side = math.isqrt(num_tokens)
    if side * side != num_tokens:
        raise ValueError(
            f"the language model's image slot needs a square number of tokens, got {num_tokens} (characters x tokens "
            f"per character); choose model.resampler.num_queries and data.conditioning.max_characters so that their "
            f"product is {side**2} or {(side + 1) ** 2}"
        )
    if dim % 4:
        raise ValueError(f"widths around the language model must be multiples of 4, got {dim}")
    frequencies = 10000.0 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    halves = []
    for index in (column, row):
        angles = index.flatten()[:, None] * frequencies
        halves += [angles.sin(), angles.cos()]
    return torch.cat(halves, dim=1).float()
