"""From noise to latents: Euler steps on SDXL's noise schedule (Karras et al. 2022, alg. 1 without churn)."""

from collections.abc import Sequence

import torch
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from torch import Tensor

from diffsensei.diffusion.guidance import Predict


def initial_noise(seeds: Sequence[int], channels: int, height: int, width: int) -> Tensor:
    """Standard normal noise (B, channels, height, width), float32 on the CPU: row i depends on ``seeds[i]`` alone."""
    rows = [torch.randn(channels, height, width, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows)


def denoise(predict: Predict, noise: Tensor, scheduler: EulerDiscreteScheduler, steps: int) -> Tensor:
    """Denoise standard normal ``noise`` (B, 4, h, w) in ``steps`` Euler steps; float32 throughout.

    ``scheduler`` gives the noise levels (it is not changed). A noise level is the ratio sigma of noise to signal; the
    network sees latents scaled to unit variance.
    """
    schedule = EulerDiscreteScheduler.from_config(scheduler.config)
    schedule.set_timesteps(steps)
    sigmas = schedule.sigmas.tolist()
    latents = noise.float() * float(schedule.init_noise_sigma)
    for timestep, sigma, next_sigma in zip(schedule.timesteps.tolist(), sigmas, sigmas[1:], strict=False):
        timesteps = torch.full((len(latents),), timestep, device=latents.device)
        noise_pred = predict(latents / (sigma**2 + 1) ** 0.5, timesteps)
        latents = latents + (next_sigma - sigma) * noise_pred
    return latents
