"""Text-to-image pre-training: the whole SDXL UNet learns to draw manga from captions (paper sec. 5.1)."""

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor, nn

from diffsensei.diffusion.objective import add_noise, epsilon_loss, sample_latents, sample_noise
from diffsensei.foundations.loading import NOISE_SCHEDULE
from diffsensei.models.conditions import Conditions
from diffsensei.models.unet import predict_noise
from diffsensei.training.batch import PanelBatch


class DiffusionLoss(nn.Module):
    """Epsilon loss of a UNet on panels (equation of sec. 3): what every stage minimises."""

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


class TextToImageObjective(nn.Module):
    """Trains all of ``unet``."""

    def __init__(self, unet: UNet2DConditionModel, scaling_factor: float) -> None:
        super().__init__()
        self.unet = unet.requires_grad_(True)
        self._diffusion_loss = DiffusionLoss(scaling_factor)

    def forward(self, batch: PanelBatch, generator: torch.Generator) -> dict[str, Tensor]:
        return {"loss": self._diffusion_loss(self.unet, batch.moments, batch.conditions, generator)}
