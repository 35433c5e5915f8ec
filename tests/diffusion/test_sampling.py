"""The denoising loop against diffusers' scheduler and against an exactly solvable case."""

from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
)

from diffsensei.diffusion.noise_schedule import NOISE_SCHEDULE
from diffsensei.diffusion.sampling import denoise, initial_noise


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
    torch.testing.assert_close(denoise(predict, noise, scheduler, steps, [0, 1]), latents, atol=1e-4, rtol=1e-4)


def test_a_perfect_noise_estimate_leads_to_the_image(scheduler: EulerDiscreteScheduler) -> None:
    """For data that is one point, the noise is known exactly and every path ends there."""
    image = torch.randn(1, 4, 3, 3)
    alphas = scheduler.alphas_cumprod

    def predict(latents: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        alpha = alphas[timesteps.long()][:, None, None, None]
        return (latents - alpha.sqrt() * image) / (1 - alpha).sqrt()

    latents = denoise(predict, torch.randn(1, 4, 3, 3), scheduler, 25, [0])
    torch.testing.assert_close(latents, image, atol=2e-2, rtol=0)


@pytest.mark.parametrize("other", [DDIMScheduler, DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler])
def test_other_schedulers_lead_there_too(scheduler: EulerDiscreteScheduler, other: Any) -> None:
    image = torch.randn(1, 4, 3, 3)
    alphas = scheduler.alphas_cumprod
    swapped = other.from_config(scheduler.config, clip_sample=False)  # DDIM would clip latents as if they were pixels

    def predict(latents: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        alpha = alphas[timesteps.long()][:, None, None, None]
        return (latents - alpha.sqrt() * image) / (1 - alpha).sqrt()

    latents = denoise(predict, torch.randn(1, 4, 3, 3), swapped, 25, [0])
    torch.testing.assert_close(latents, image, atol=4e-2, rtol=0)


def test_random_steps_of_a_panel_are_its_own(scheduler: EulerDiscreteScheduler) -> None:
    ancestral = EulerAncestralDiscreteScheduler.from_config(scheduler.config)
    noise = initial_noise([5, 6], 4, 3, 3)

    def predict(latents: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        return torch.tanh(latents)

    together = denoise(predict, noise, ancestral, 5, [5, 6])
    alone = denoise(predict, noise[1:], ancestral, 5, [6])
    torch.testing.assert_close(together[1:], alone)
    assert not torch.allclose(denoise(predict, noise[1:], ancestral, 5, [7]), alone)


def test_every_step_is_shown_and_may_change_the_latents(scheduler: EulerDiscreteScheduler) -> None:
    seen: list[tuple[int, int]] = []

    def on_step(step: int, timestep: int, latents: torch.Tensor) -> torch.Tensor:
        seen.append((step, timestep))
        return torch.zeros_like(latents) if step == 3 else latents

    latents = denoise(lambda noisy, _: noisy, torch.randn(1, 4, 3, 3), scheduler, 4, [0], on_step)
    assert [step for step, _ in seen] == [0, 1, 2, 3]
    assert [timestep for _, timestep in seen] == [751, 501, 251, 1]
    assert not latents.any()


def test_noise_of_a_panel_is_its_own() -> None:
    together = initial_noise([5, 6, 7], 4, 3, 2)
    assert torch.equal(together[1:2], initial_noise([6], 4, 3, 2))
    assert not torch.equal(together[0], together[1])
    before = torch.get_rng_state()
    initial_noise([1], 4, 3, 2)
    assert torch.equal(torch.get_rng_state(), before)
