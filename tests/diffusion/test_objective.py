import math

import pytest
import torch
from diffusers import DDPMScheduler

from diffsensei.diffusion.objective import add_noise, epsilon_loss, sample_latents, sample_noise


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_noising_is_that_of_the_diffusers_scheduler() -> None:
    scheduler = DDPMScheduler(
        num_train_timesteps=1000, beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012
    )
    latents, noise = torch.randn(2, 8, 4, 6, 6, generator=generator())
    timesteps = torch.tensor([0, 1, 10, 100, 500, 900, 998, 999])
    mine = add_noise(latents, noise, timesteps, scheduler.alphas_cumprod)
    torch.testing.assert_close(mine, scheduler.add_noise(latents, noise, timesteps))


def test_noised_variance_is_preserved() -> None:
    alphas = torch.tensor([0.25])
    noisy = add_noise(torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), 3.0), torch.tensor([0]), alphas)
    assert noisy.item() == pytest.approx(0.5 * 2 + math.sqrt(0.75) * 3)


def test_latents_are_drawn_from_the_scaled_posterior() -> None:
    moments = torch.cat([torch.full((1, 1, 200, 200), 3.0), torch.full((1, 1, 200, 200), math.log(4.0))], dim=1)
    latents = sample_latents(moments, 0.5, generator())
    assert latents.mean().item() == pytest.approx(1.5, abs=0.03)
    assert latents.std().item() == pytest.approx(1.0, abs=0.03)


def test_half_precision_moments_are_widened_before_use() -> None:
    moments = torch.zeros(1, 2, 2, 2, dtype=torch.float16)
    assert sample_latents(moments, 1.0, generator()).dtype == torch.float32


def test_noise_and_timesteps_follow_the_generator() -> None:
    latents = torch.zeros(4000, 1, 2, 2)
    noise, timesteps = sample_noise(latents, 1000, generator(5))
    again_noise, again_timesteps = sample_noise(latents, 1000, generator(5))
    assert torch.equal(noise, again_noise)
    assert torch.equal(timesteps, again_timesteps)
    assert timesteps.min() < 10
    assert timesteps.max() > 989
    assert timesteps.float().mean().item() == pytest.approx(499.5, abs=15)
    assert noise.std().item() == pytest.approx(1.0, abs=0.05)


def test_loss_is_the_mean_square_in_float32() -> None:
    loss = epsilon_loss(torch.tensor([1.0, 3.0], dtype=torch.bfloat16), torch.tensor([0.0, 1.0]))
    assert loss.dtype == torch.float32
    assert loss.item() == 2.5
