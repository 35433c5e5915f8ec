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
    torch.testing.assert_close(guided(branches, [scale])(latents, timesteps), expected)


def test_further_branches_add_up() -> None:
    def three(latents: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.full((1, 4, 1, 1), value) for value in (1.0, 3.0, 10.0)])

    noise_pred = guided(three, [3.5, 7.0])(torch.zeros(1, 4, 1, 1), torch.zeros(1))
    assert noise_pred.flatten().tolist() == [1 + 3.5 * 2 + 7 * 7] * 4
    assert guided(three, ()) is three
