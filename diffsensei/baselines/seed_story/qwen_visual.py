"""Qwen-VL's visual tower (ViT-G, 448 px, to 256 tokens of 4096): what SEED-Story knows panels by.

Tensor names and shapes are those of the published state dict; sizes come from them, but for the head counts.
"""

import math
import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffsensei.baselines.seed_story.resamplers import GridResampler, on_grid
from diffsensei.released.stored import State, fill, first_shape

HEADS = 16
POOL_HEAD_DIM = 128
"""Channels of a head of the attention pool."""
EPSILON = 1e-6
TRAINED_FRACTION = 2
"""Positions are learnt on a grid of half the edge (224 px), and resized to that of the input."""
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""CLIP's, of RGB in [0, 1]."""
_LAYER = re.compile(r"transformer\.resblocks\.(\d+)\.")


class FusedAttention(nn.Module):
    """Self-attention whose projection holds query, key and value of a head behind one another, head after head."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.in_proj, self.out_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self._heads = heads

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, width) -> (B, L, width)."""
        query, key, value = self.in_proj(tokens).unflatten(-1, (self._heads, -1)).transpose(1, 2).chunk(3, dim=-1)
        return self.out_proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linears around an exact GELU."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.c_fc, self.c_proj = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(tokens)))


class Block(nn.Module):
    """A transformer layer with norms in front."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width, eps=EPSILON), nn.LayerNorm(width, eps=EPSILON)
        self.attn, self.mlp = FusedAttention(width, heads), FeedForward(width, inner)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.ln_1(tokens))
        return tokens + self.mlp(self.ln_2(tokens))


class QwenTower(nn.Module):
    """Normalised pixels (B, 3, side, side) -> (B, num_tokens, dim)."""

    def __init__(
        self, *, width: int, layers: int, heads: int, inner: int, patch: int, positions: int, num_tokens: int, dim: int
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.positional_embedding = nn.Parameter(torch.randn(positions, width) / width**0.5)
        self.ln_pre = nn.LayerNorm(width, eps=EPSILON)
        self.transformer = nn.ModuleDict(
            {"resblocks": nn.ModuleList(Block(width, heads, inner) for _ in range(layers))}
        )
        self.attn_pool = GridResampler(num_tokens, embed_dim=dim, heads=dim // POOL_HEAD_DIM, kv_dim=width)
        self.attn_pool.ln_q.eps = self.attn_pool.ln_kv.eps = EPSILON
        self.ln_post = nn.LayerNorm(dim, eps=EPSILON)
        self.proj = nn.Parameter(torch.randn(dim, dim) / dim**0.5)

    def forward(self, pixels: Tensor) -> Tensor:
        tokens = self.conv1(pixels).flatten(2).transpose(1, 2)
        tokens = self.ln_pre(tokens + on_grid(self.positional_embedding, tokens.shape[1]))
        blocks = self.transformer["resblocks"]
        assert isinstance(blocks, nn.ModuleList)
        for block in blocks:
            tokens = block(tokens)
        return self.ln_post(self.attn_pool(tokens)) @ self.proj


class QwenVisual:
    """The tower as `visual.VisualEncoder`."""

    deviations: tuple[str, ...] = ()

    def __init__(self, tower: QwenTower) -> None:
        self._tower = tower.eval().requires_grad_(False)
        self.side: int = TRAINED_FRACTION * math.isqrt(len(tower.positional_embedding)) * tower.conv1.kernel_size[0]
        self.num_tokens, self.dim = tower.attn_pool.query.shape
        self._mean = torch.tensor(MEAN, device=tower.proj.device).view(3, 1, 1)
        self._std = torch.tensor(STD, device=tower.proj.device).view(3, 1, 1)

    def encode(self, images: Tensor) -> Tensor:
        """uint8 grey (K, side, side) -> (K, num_tokens, dim) float32."""
        return self._tokens(((images.float() / 255.0).unsqueeze(1) - self._mean) / self._std)

    def blank(self) -> Tensor:
        """(num_tokens, dim) float32."""
        return self._tokens(torch.zeros(1, 3, self.side, self.side, device=self._mean.device))[0]

    @torch.no_grad()
    def _tokens(self, pixels: Tensor) -> Tensor:
        tokens: Tensor = self._tower(pixels.to(self._tower.proj.dtype))
        return tokens.float()


def build_qwen_visual(state: State, source: str, dtype: torch.dtype, device: torch.device) -> QwenVisual:
    """The tower with the tensors ``state``, read from ``source``.

    Raises ValueError where tensors are missing, left over or misshapen.
    """
    with torch.device("meta"):
        tower = empty_tower(state, source)
    fill(tower, state, source, device=device, dtype=dtype)
    return QwenVisual(tower)


def empty_tower(state: State, source: str) -> QwenTower:
    """A tower as wide and deep as ``state``. Raises ValueError for one that cannot be."""
    width, _, patch, _ = first_shape(state, "conv1.weight", 4, source)
    num_tokens, dim = first_shape(state, "attn_pool.query", 2, source)
    positions = first_shape(state, "positional_embedding", 2, source)[0]
    inner = first_shape(state, "transformer.resblocks.0.mlp.c_fc.weight", 2, source)[0]
    if width % HEADS or dim % POOL_HEAD_DIM or any(math.isqrt(n) ** 2 != n for n in (positions, num_tokens)):
        raise ValueError(
            f"{source}: expected {HEADS} heads, {POOL_HEAD_DIM} channels per head of the pool and square grids, got "
            f"width {width}, {positions} positions and {num_tokens} tokens of {dim}; give Qwen-VL's visual tower"
        )
    return QwenTower(
        width=width,
        layers=1 + max(int(found[1]) for name in state if (found := _LAYER.match(name))),
        heads=HEADS,
        inner=inner,
        patch=patch,
        positions=positions,
        num_tokens=num_tokens,
        dim=dim,
    )
