"""What every training of a UNet minimises: the epsilon loss on Stable Diffusion's noise schedule (paper sec. 3)."""

from typing import NamedTuple

import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor, nn

from diffsensei.diffusion.noise_schedule import NOISE_SCHEDULE
from diffsensei.diffusion.objective import add_noise, epsilon_loss, sample_latents, sample_noise
from diffsensei.models.conditions import Conditions
from diffsensei.models.unet import predict_noise


class Noised(NamedTuple):
    """Latents with noise: what a UNet sees, what it is to find, and when (timesteps (B,) in 0..999)."""

    latents: Tensor
    noise: Tensor
    timesteps: Tensor


class Noising(nn.Module):
    """Draws latents from VAE moments and noises them."""

    alphas_cumprod: Tensor

    def __init__(self, scaling_factor: float) -> None:
        """``scaling_factor`` brings VAE latents to about unit variance."""
        super().__init__()
        self._scaling_factor = scaling_factor
        self.register_buffer("alphas_cumprod", DDPMScheduler(**NOISE_SCHEDULE).alphas_cumprod, persistent=False)

    def forward(self, moments: Tensor, generator: torch.Generator) -> Noised:
        """Panels with VAE ``moments`` (B, 2C, h, w) at uniform timesteps."""
        latents = self.latents(moments, generator)
        noise, timesteps = sample_noise(latents, len(self.alphas_cumprod), generator)
        return Noised(self.at(latents, noise, timesteps), noise, timesteps)

    def latents(self, moments: Tensor, generator: torch.Generator) -> Tensor:
        """(B, C, h, w) drawn from the posterior."""
        return sample_latents(moments, self._scaling_factor, generator)

    def at(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """``latents`` (B, C, h, w) with ``noise`` of ``timesteps`` (B,)."""
        return add_noise(latents, noise, timesteps, self.alphas_cumprod)


class DiffusionLoss(nn.Module):
    """Epsilon loss of an SDXL UNet on panels (equation of sec. 3)."""

    def __init__(self, scaling_factor: float) -> None:
        super().__init__()
        self._noising = Noising(scaling_factor)

    def forward(self, unet: nn.Module, moments: Tensor, conditions: Conditions, generator: torch.Generator) -> Tensor:
        """Loss (0-d) of ``unet`` on panels with VAE ``moments`` (B, 2C, h, w) under ``conditions``."""
        noised = self._noising(moments, generator)
        return epsilon_loss(predict_noise(unet, noised.latents, noised.timesteps, conditions), noised.noise)
