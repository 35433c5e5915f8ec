"""Stage 2: the MLLM adapter learns to turn a character's tokens into those of the state the caption names (sec. 4.2).

Loss = diffusion + lm * CE + rec * MSE. The target tokens are those of the characters as they look in the panel itself;
UNet and resampler are frozen, and the diffusion loss reaches the adapter through them.
"""

from dataclasses import replace

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from diffsensei.config.schema import IdentityAdapterConfig
from diffsensei.models.diffusion_loss import DiffusionLoss
from diffsensei.models.identity_adapter import IdentityAdapter
from diffsensei.models.resampler import Resampler
from diffsensei.training.batch import PanelBatch


class IdentityAdapterObjective(nn.Module):
    """Trains what ``adapter`` declares trainable; ``unet`` and ``resampler`` are frozen."""

    def __init__(
        self,
        adapter: IdentityAdapter,
        unet: UNet2DConditionModel,
        resampler: Resampler,
        config: IdentityAdapterConfig,
        scaling_factor: float,
        prompt_row_tokens: int | None = None,
    ) -> None:
        """``prompt_row_tokens``: see `IdentityAdapter.forward`."""
        super().__init__()
        self.adapter = adapter
        self.unet = unet.requires_grad_(False)
        self.resampler = resampler.requires_grad_(False)
        self._config = config
        self._prompt_row_tokens = prompt_row_tokens
        self._diffusion_loss = DiffusionLoss(scaling_factor)

    def forward(self, batch: PanelBatch, generator: torch.Generator) -> dict[str, Tensor]:
        layout, references, targets = batch.conditions.layout, batch.references, batch.targets
        assert layout is not None
        assert references is not None
        assert targets is not None
        exists = layout.character_exists
        num_background = self.resampler.config["num_queries"]
        with torch.no_grad():
            source = self.resampler(references.clip_tokens, references.magi_cls, exists)
            target = self.resampler(targets.clip_tokens, targets.magi_cls, exists)[:, num_background:]
        background, source_tokens = source[:, :num_background], source[:, num_background:]

        output = self.adapter(list(batch.captions), source_tokens, self._prompt_row_tokens)
        # Slots without a character are masked out of the image, so they are no part of the regression either.
        slots = exists.repeat_interleave(num_background, dim=1).unsqueeze(-1)
        predicted = torch.where(slots, output.predicted, 0.0)
        squares = torch.nn.functional.mse_loss(predicted.float(), target.float(), reduction="none")
        rec_loss = squares.sum() / (slots.sum() * squares.shape[-1]).clamp(min=1)

        tokens = torch.cat([background.to(predicted.dtype), predicted], dim=1)
        conditions = replace(batch.conditions, character_tokens=tokens)
        diffusion_loss = self._diffusion_loss(self.unet, batch.moments, conditions, generator)
        loss = (
            self._config.diffusion_loss_scale * diffusion_loss
            + self._config.lm_loss_scale * output.lm_loss
            + self._config.rec_loss_scale * rec_loss
        )
        return {
            "loss": loss,
            "diffusion_loss": diffusion_loss,
            "lm_loss": output.lm_loss,
            "rec_loss": rec_loss,
        }
