"""DDIM (Song et al. 2021), which most of the compared methods sample with: one network call a step."""

from dataclasses import replace

from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from diffsensei.diffusion.noise_schedule import NOISE_SCHEDULE
from diffsensei.methods.image_generator import ImageGenerator


def ddim() -> DDIMScheduler:
    """Deterministic DDIM on Stable Diffusion's noise schedule, latents never clipped."""
    return DDIMScheduler(**NOISE_SCHEDULE, clip_sample=False, set_alpha_to_one=False)


def with_ddim(generator: ImageGenerator) -> ImageGenerator:
    """``generator`` with that sampler instead of its own."""
    return replace(generator, scheduler=ddim())
