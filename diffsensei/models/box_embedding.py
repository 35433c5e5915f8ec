"""Boxes as vectors: GLIGEN's Fourier features of the four coordinates, through a small network."""

import torch
from torch import Tensor, nn

NUM_FREQUENCIES = 8
"""Per coordinate, each with a sine and a cosine (GLIGEN's released models)."""
LARGEST_FREQUENCY = 100.0
"""Radians per panel edge, just not reached: frequency k is this to the power k / `NUM_FREQUENCIES` (GLIGEN)."""
OUTPUT_STD = 0.02
"""Small, so that a pre-trained network starts next to where it was."""


class BoxEmbedding(nn.Module):
    """Box (4,) xyxy relative to the panel -> vector (output_dim,)."""

    def __init__(self, output_dim: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(4 * 2 * NUM_FREQUENCIES, output_dim)
        self.output = nn.Linear(output_dim, output_dim)
        nn.init.normal_(self.output.weight, std=OUTPUT_STD)
        nn.init.zeros_(self.output.bias)

    def forward(self, boxes: Tensor, exists: Tensor) -> Tensor:
        """(B, N, 4), (B, N) bool -> (B, N, output_dim), 0 where no box exists."""
        features = fourier_features(boxes).to(self.hidden.weight.dtype)
        embedded = self.output(nn.functional.silu(self.hidden(features)))
        return torch.where(exists.unsqueeze(-1), embedded, 0.0)


def fourier_features(boxes: Tensor) -> Tensor:
    """(..., 4) -> (..., 64) float32: sines, then cosines, of each coordinate at each frequency."""
    powers = torch.arange(NUM_FREQUENCIES, device=boxes.device) / NUM_FREQUENCIES
    angles = (boxes.float().unsqueeze(-1) * LARGEST_FREQUENCY**powers).flatten(-2)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
