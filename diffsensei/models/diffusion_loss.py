"""What every training of a UNet minimises: the epsilon loss on SDXL's noise schedule (paper sec. 3)."""

import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor, nn

from diffsensei.diffusion.objective import add_noise, epsilon_loss, sample_latents, sample_noise
from diffsensei.foundations.loading import NOISE_SCHEDULE
from diffsensei.models.conditions import Conditions
from diffsensei.models.unet import predict_noise


class DiffusionLoss(nn.Module):
    """Epsilon loss of a UNet on panels (equation of sec. 3)."""

    def __init__(self, scaling_factor: float) -> None:
        """``scaling_factor`` brings VAE latents to about unit variance."""
        super().__init__()
        self._scaling_factor = scaling_factor
        self.alphas_cumprod: Tensor
        self.register_buffer("alphas_cumprod", DDPMScheduler(**NOISE_SCHEDULE).alphas_cumprod, persistent=False)

    def forward(self, unet: nn.Module, moments: Tensor, conditions: Conditions, generator: torch.Generator) -> Tensor:
        """Loss (0-d) of ``unet`` on panels with VAE ``moments`` (B, 2C, h, w) under ``conditions``."""
        latents = sample_latents(moments, self._scaling_factor, generator)
        noise, timesteps = sample_noise(latents, len(self.alphas_cumprod), generator)
        noisy = add_noise(latents, noise, timesteps, self.alphas_cumprod)
        return epsilon_loss(predict_noise(unet, noisy, timesteps, conditions), noise)
