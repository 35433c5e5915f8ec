"""SDXL with captions, and with all that DiffSensei adds: what its methods and the baselines on SDXL share."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from PIL import Image

from diffsensei.config.schema import SamplingConfig
from diffsensei.diffusion.cuda_graph import recorded
from diffsensei.diffusion.guidance import Predict, guided
from diffsensei.methods.method import Panel
from diffsensei.methods.painter import OnStepOfBatch, Painter
from diffsensei.models.conditions import Conditions, micro_conditions
from diffsensei.models.offload import on_its_device
from diffsensei.models.text import TextEncoder, encode_text
from diffsensei.models.unet import noise_predictor

Branches = tuple[Conditions, Conditions]
"""Negative and positive conditions of one batch."""


@dataclass(frozen=True, eq=False)
class ImageGenerator:
    """A trained UNet with its autoencoder, text encoders and noise schedule; ``on_step`` as in `Painter`.

    With ``cuda_graphs`` the steps of a batch are recorded and repeated (`diffusion.cuda_graph`)."""

    vae: AutoencoderKL
    text_encoders: Sequence[TextEncoder]
    unet: UNet2DConditionModel
    scheduler: SchedulerMixin
    on_step: OnStepOfBatch | None = None
    cuda_graphs: bool = False

    @cached_property
    def painter(self) -> Painter:
        """What turns noise predictions into panels."""
        return Painter(self.vae, self.unet, self.scheduler, self.on_step)

    def draw(
        self, panels: Sequence[Panel], condition: Callable[[Sequence[Panel]], Branches], sampling: SamplingConfig
    ) -> Iterator[tuple[str, Image.Image]]:
        """Each panel's id and image, in batches of equal size; ``condition`` gives a batch's conditions.

        Raises ValueError for a size that the autoencoder cannot give or ``sampling`` does not allow.
        """
        return self.painter.draw(panels, lambda batch: self.predictor(*condition(batch), sampling), sampling)

    def predictor(self, negative: Conditions, positive: Conditions, sampling: SamplingConfig) -> Predict:
        """The guided noise estimate of one batch. At guidance scale 1 and below the negative branch is not computed."""
        unet = on_its_device(self.unet)
        is_guided = sampling.guidance_scale > 1.0
        branches = [negative, positive] if is_guided else [positive]
        conditions = Conditions.concatenated(branches).to(unet.device, unet.dtype)
        predict = noise_predictor(unet, conditions, character_scale=sampling.character_scale)
        whole = guided(predict, (sampling.guidance_scale,) if is_guided else ())
        return recorded(whole) if self.cuda_graphs else whole

    def text_conditions(self, panels: Sequence[Panel], negative_prompt: str) -> Branches:
        """Plain SDXL conditions: the captions, and the negative prompt at the same sizes."""
        tokens, pooled = encode_text(self.text_encoders, [negative_prompt, *(panel.caption for panel in panels)])
        sizes = [(panel.height, panel.width) for panel in panels]
        time_ids = torch.tensor([micro_conditions(size, (0, 0), size) for size in sizes], device=tokens.device)
        count = len(panels)
        negative = Conditions(tokens[:1].expand(count, -1, -1), pooled[:1].expand(count, -1), time_ids)
        return negative, Conditions(tokens[1:], pooled[1:], time_ids)
