"""The Euler loop against diffusers' scheduler and against an exactly solvable case."""

import pytest
import torch
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler

from diffsensei.diffusion.sampling import denoise, initial_noise
from diffsensei.foundations.loading import NOISE_SCHEDULE


@pytest.fixture
def scheduler() -> EulerDiscreteScheduler:
    return EulerDiscreteScheduler(**NOISE_SCHEDULE)


@pytest.mark.parametrize("steps", [1, 7, 30])
def test_equals_diffusers_step_by_step(scheduler: EulerDiscreteScheduler, steps: int) -> None:
    def predict(latents: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        return torch.tanh(latents) + timesteps[:, None, None, None] / 1000

    noise = torch.randn(2, 4, 3, 5)
    reference = EulerDiscreteScheduler(**NOISE_SCHEDULE)
    reference.set_timesteps(steps)
    latents = noise * reference.init_noise_sigma
    for timestep in reference.timesteps:
        noise_pred = predict(reference.scale_model_input(latents, timestep), timestep.expand(2))
        latents = reference.step(noise_pred, timestep, latents).prev_sample
    torch.testing.assert_close(denoise(predict, noise, scheduler, steps), latents, atol=1e-4, rtol=1e-4)


def test_a_perfect_noise_estimate_leads_to_the_image(scheduler: EulerDiscreteScheduler) -> None:
    """For data that is one point, the noise is known exactly and every path ends there."""
    image = torch.randn(1, 4, 3, 3)
    alphas = scheduler.alphas_cumprod

    def predict(latents: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        alpha = alphas[timesteps.long()][:, None, None, None]
        return (latents - alpha.sqrt() * image) / (1 - alpha).sqrt()

    latents = denoise(predict, torch.randn(1, 4, 3, 3), scheduler, 25)
    torch.testing.assert_close(latents, image, atol=2e-2, rtol=0)


def test_noise_of_a_panel_is_its_own() -> None:
    together = initial_noise([5, 6, 7], 4, 3, 2)
    assert torch.equal(together[1:2], initial_noise([6], 4, 3, 2))
    assert not torch.equal(together[0], together[1])
    before = torch.get_rng_state()
    initial_noise([1], 4, 3, 2)
    assert torch.equal(torch.get_rng_state(), before)
