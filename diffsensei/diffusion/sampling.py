"""From noise to latents with any of diffusers' schedulers; SDXL's own takes Euler steps (Karras et al. 2022)."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from diffsensei.diffusion.guidance import Predict
from diffsensei.seeding import stream_seed

OnStep = Callable[[int, int, Tensor], Tensor]
"""(step from 0, timestep in 0..999, latents (B, 4, h, w)) -> the latents to go on with."""


def initial_noise(seeds: Sequence[int], channels: int, height: int, width: int) -> Tensor:
    """Standard normal noise (B, channels, height, width), float32 on the CPU: row i depends on ``seeds[i]`` alone."""
    rows = [torch.randn(channels, height, width, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows)


def denoise(
    predict: Predict,
    noise: Tensor,
    scheduler: Any,
    steps: int,
    seeds: Sequence[int],
    on_step: OnStep | None = None,
) -> Tensor:
    """Denoise standard normal ``noise`` (B, 4, h, w) in ``steps`` steps; float32 throughout.

    ``scheduler`` (diffusers') gives noise levels and steps; it is not changed. Where its steps are random, row i draws
    from a stream of ``seeds[i]`` alone. ``on_step`` is called after every step.
    """
    schedule = type(scheduler).from_config(scheduler.config)
    schedule.set_timesteps(steps)  # on the CPU: levels are looked up without waiting for the device
    randomness = {}
    if "generator" in inspect.signature(schedule.step).parameters:
        randomness["generator"] = [
            torch.Generator().manual_seed(stream_seed(seed, "step noise") % 2**63) for seed in seeds
        ]
    latents = noise.float() * float(schedule.init_noise_sigma)
    for step, timestep in enumerate(schedule.timesteps):
        timesteps = torch.full((len(latents),), float(timestep), device=latents.device)
        noise_pred = predict(schedule.scale_model_input(latents, timestep), timesteps)
        latents = schedule.step(noise_pred, timestep, latents, return_dict=False, **randomness)[0]
        if on_step is not None:
            latents = on_step(step, int(timestep), latents)
    return latents
