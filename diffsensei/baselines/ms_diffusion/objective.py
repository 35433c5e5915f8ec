"""What MS-Diffusion minimises: the epsilon loss of a UNet that hears of its subjects (sec. 3.4)."""

from dataclasses import dataclass, replace

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from diffsensei.baselines.ms_diffusion.grounding import GroundingResampler
from diffsensei.config.baselines import DropConfig
from diffsensei.models.diffusion_loss import DiffusionLoss
from diffsensei.training.batch import PanelBatch


@dataclass(frozen=True, eq=False)
class Constants:
    """What does not change from panel to panel."""

    phrase: Tensor
    """(phrase_dim,) the one name of all subjects."""
    blank_clip_tokens: Tensor
    """(S, clip_dim)."""
    no_text_tokens: Tensor
    """(T, C) of the empty caption."""
    no_pooled_text: Tensor
    """(P,)."""


class MsDiffusionObjective(nn.Module):
    """Trains ``grounding``, and of ``unet`` what requires gradients."""

    phrase: Tensor
    blank_clip_tokens: Tensor
    no_text_tokens: Tensor
    no_pooled_text: Tensor

    def __init__(
        self,
        unet: UNet2DConditionModel,
        grounding: GroundingResampler,
        constants: Constants,
        drops: DropConfig,
        scaling_factor: float,
    ) -> None:
        super().__init__()
        self.unet, self.grounding = unet, grounding.requires_grad_(True)
        for name in ("phrase", "blank_clip_tokens", "no_text_tokens", "no_pooled_text"):
            self.register_buffer(name, getattr(constants, name), persistent=False)
        self._drops = drops
        self._diffusion_loss = DiffusionLoss(scaling_factor)

    def forward(self, batch: PanelBatch, generator: torch.Generator) -> dict[str, Tensor]:
        conditions, references = batch.conditions, batch.references
        layout = conditions.layout
        assert layout is not None
        assert references is not None
        no_image, no_text, grounded = sample_drops(self._drops, len(batch.moments), generator)
        device = batch.moments.device
        no_image, no_text, grounded = no_image.to(device), no_text.to(device), grounded.to(device)
        clip_tokens = torch.where(no_image[:, None, None, None], self.blank_clip_tokens, references.clip_tokens)
        tokens = self.grounding(clip_tokens, layout.character_boxes, layout.character_exists, self.phrase, grounded)
        dropped = replace(
            conditions,
            text_tokens=torch.where(no_text[:, None, None], self.no_text_tokens, conditions.text_tokens),
            pooled_text=torch.where(no_text[:, None], self.no_pooled_text, conditions.pooled_text),
            character_tokens=tokens,
        )
        return {"loss": self._diffusion_loss(self.unet, batch.moments, dropped, generator)}


def sample_drops(drops: DropConfig, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """(count,) bool each, on the generator's device: without image, without text, with grounded queries."""
    luck, grounding = torch.rand(2, count, generator=generator, device=generator.device)
    image_only = luck < drops.image_rate
    text_only = (luck >= drops.image_rate) & (luck < drops.image_rate + drops.text_rate)
    both = luck >= 1.0 - drops.both_rate
    return image_only | both, text_only | both, grounding >= drops.grounding_rate
