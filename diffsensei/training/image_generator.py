"""Stage 1: UNet and resampler learn to draw given characters and dialogs where they belong (paper sec. 4.1, 5.1)."""

from dataclasses import replace

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from diffsensei.models.diffusion_loss import DiffusionLoss
from diffsensei.models.resampler import Resampler
from diffsensei.training.batch import PanelBatch


class ImageGeneratorObjective(nn.Module):
    """Trains of ``unet`` (which has manga conditions) what requires gradients, and all of ``resampler``."""

    def __init__(self, unet: UNet2DConditionModel, resampler: Resampler, scaling_factor: float) -> None:
        super().__init__()
        self.unet = unet
        self.resampler = resampler.requires_grad_(True)
        self._diffusion_loss = DiffusionLoss(scaling_factor)

    def forward(self, batch: PanelBatch, generator: torch.Generator) -> dict[str, Tensor]:
        layout, references = batch.conditions.layout, batch.references
        assert layout is not None
        assert references is not None
        tokens = self.resampler(references.clip_tokens, references.magi_cls, layout.character_exists)
        conditions = replace(batch.conditions, character_tokens=tokens)
        return {"loss": self._diffusion_loss(self.unet, batch.moments, conditions, generator)}
