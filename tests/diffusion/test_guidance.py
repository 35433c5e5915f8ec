"""Classifier-free guidance."""

import pytest
import torch

from diffsensei.diffusion.guidance import guided


def branches(latents: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
    """Negative half: latents + t. Positive half: 3 * latents + t."""
    half = len(latents) // 2
    factor = torch.tensor([1.0] * half + [3.0] * half)[:, None, None, None]
    return factor * latents + timesteps[:, None, None, None]


@pytest.mark.parametrize("scale", [1.0, 2.0, 7.5])
def test_extrapolates_from_negative_to_positive(scale: float) -> None:
    latents, timesteps = torch.randn(3, 4, 2, 2), torch.tensor([1.0, 2.0, 3.0])
    expected = latents + scale * 2 * latents + timesteps[:, None, None, None]
    torch.testing.assert_close(guided(branches, scale)(latents, timesteps), expected)
