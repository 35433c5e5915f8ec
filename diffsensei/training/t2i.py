"""Text-to-image pre-training: the whole SDXL UNet learns to draw manga from captions (paper sec. 5.1)."""

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from diffsensei.models.diffusion_loss import DiffusionLoss
from diffsensei.training.batch import PanelBatch


class TextToImageObjective(nn.Module):
    """Trains all of ``unet``."""

    def __init__(self, unet: UNet2DConditionModel, scaling_factor: float) -> None:
        super().__init__()
        self.unet = unet.requires_grad_(True)
        self._diffusion_loss = DiffusionLoss(scaling_factor)

    def forward(self, batch: PanelBatch, generator: torch.Generator) -> dict[str, Tensor]:
        return {"loss": self._diffusion_loss(self.unet, batch.moments, batch.conditions, generator)}
