"""What AR-LDM minimises: the plain epsilon loss, end to end through caption and history (eq. 7)."""

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from diffsensei.baselines.ar_ldm.history import History, HistoryEncoder
from diffsensei.diffusion.objective import epsilon_loss
from diffsensei.models.diffusion_loss import Noising
from diffsensei.training.story_batch import StoryBatch


class ArLdmObjective(nn.Module):
    """Trains UNet, text encoder, BLIP and tables. One target at a time: the targets of a story are independent."""

    def __init__(
        self, unet: UNet2DConditionModel, encoder: HistoryEncoder, drop_rate: float, scaling_factor: float
    ) -> None:
        super().__init__()
        self.unet, self.encoder = unet.requires_grad_(True), encoder.requires_grad_(True)
        self._drop_rate = drop_rate
        self._noising = Noising(scaling_factor)

    def forward(self, batch: StoryBatch, generator: torch.Generator) -> dict[str, Tensor]:
        noised = self._noising(batch.moments, generator)
        luck = torch.rand(len(batch.captions), generator=generator, device=generator.device).cpu()
        history = History(batch.earlier_images, batch.earlier_captions, batch.earlier_exists)
        context, visible = self.encoder(batch.captions, history, luck < self._drop_rate)
        predicted = self.unet(
            noised.latents,
            noised.timesteps,
            encoder_hidden_states=context,
            encoder_attention_mask=visible,
            return_dict=False,
        )[0]
        return {"loss": epsilon_loss(predicted, noised.noise)}
