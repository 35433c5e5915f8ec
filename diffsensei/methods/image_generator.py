"""The SDXL parts every method here shares: captions in, noise out, latents to grey panels (paper sec. 4.1, 5.1)."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from PIL import Image
from torch import Tensor

from diffsensei.config.schema import SamplingConfig
from diffsensei.diffusion.guidance import guided
from diffsensei.diffusion.sampling import denoise, initial_noise
from diffsensei.methods.method import Panel
from diffsensei.models.conditions import Conditions, micro_conditions
from diffsensei.models.offload import on_its_device
from diffsensei.models.text import TextEncoder, encode_text
from diffsensei.models.unet import noise_predictor

SomePanel = TypeVar("SomePanel", bound=Panel)

Branches = tuple[Conditions, Conditions]
"""Negative and positive conditions of one batch."""


@dataclass(frozen=True, eq=False)
class ImageGenerator:
    """A trained UNet with its autoencoder, text encoders and noise schedule."""

    vae: AutoencoderKL
    text_encoders: Sequence[TextEncoder]
    unet: UNet2DConditionModel
    scheduler: SchedulerMixin
    on_step: Callable[[Sequence[str], int, int, Tensor], Tensor] | None = None
    """Called after every denoising step with the batch's panel ids, the step, its timestep and the latents; returns
    the latents to go on with."""

    def draw(
        self, panels: Sequence[Panel], condition: Callable[[Sequence[Panel]], Branches], sampling: SamplingConfig
    ) -> Iterator[tuple[str, Image.Image]]:
        """Each panel's id and image, in batches of equal size; ``condition`` gives a batch's conditions.

        Raises ValueError for a size that the autoencoder cannot give or ``sampling`` does not allow.
        """
        for panel in panels:
            self._check_size(panel, sampling)
        for batch in batches_by_size(panels, sampling.batch_size):
            negative, positive = condition(batch)
            latents = self.sample(batch, negative, positive, sampling)
            yield from zip([panel.panel_id for panel in batch], self._decode(latents), strict=True)

    def text_conditions(self, panels: Sequence[Panel], negative_prompt: str) -> Branches:
        """Plain SDXL conditions: the captions, and the negative prompt at the same sizes."""
        tokens, pooled = encode_text(self.text_encoders, [negative_prompt, *(panel.caption for panel in panels)])
        sizes = [(panel.height, panel.width) for panel in panels]
        time_ids = torch.tensor([micro_conditions(size, (0, 0), size) for size in sizes], device=tokens.device)
        count = len(panels)
        negative = Conditions(tokens[:1].expand(count, -1, -1), pooled[:1].expand(count, -1), time_ids)
        return negative, Conditions(tokens[1:], pooled[1:], time_ids)

    def sample(
        self, batch: Sequence[Panel], negative: Conditions, positive: Conditions, sampling: SamplingConfig
    ) -> Tensor:
        """Latents (B, 4, h, w), float32, of panels of one size. Each panel's noise comes from its own seed, so that its
        company changes nothing. At guidance scale 1 and below the negative branch is not computed.
        """
        unet, factor = on_its_device(self.unet), self._factor
        is_guided = sampling.guidance_scale > 1.0
        conditions = Conditions.concatenated([negative, positive]) if is_guided else positive
        conditions = conditions.to(unet.device, unet.dtype)
        predict_noise = noise_predictor(unet, conditions, character_scale=sampling.character_scale)

        def predict(latents: Tensor, timesteps: Tensor) -> Tensor:
            return predict_noise(latents.to(unet.dtype), timesteps).float()

        noise = initial_noise(
            [panel.seed for panel in batch],
            unet.config["in_channels"],
            batch[0].height // factor,
            batch[0].width // factor,
        )
        steered = guided(predict, sampling.guidance_scale) if is_guided else predict
        on_step = partial(self.on_step, [panel.panel_id for panel in batch]) if self.on_step else None
        seeds = [panel.seed for panel in batch]
        return denoise(steered, noise.to(unet.device), self.scheduler, sampling.steps, seeds, on_step)

    @torch.no_grad()
    def _decode(self, latents: Tensor) -> list[Image.Image]:
        """In the autoencoder's own precision (SDXL's overflows in float16); the colour channels are averaged."""
        decoded = self.vae.decode(latents.to(self.vae.dtype) / self.vae.config["scaling_factor"]).sample
        grey = (decoded.float().mean(dim=1) / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
        return [Image.fromarray(pixels) for pixels in grey.cpu().numpy()]

    @property
    def _factor(self) -> int:
        return 2 ** (len(self.vae.config["block_out_channels"]) - 1)

    def _check_size(self, panel: Panel, sampling: SamplingConfig) -> None:
        factor = self._factor
        smallest, largest = math.ceil(sampling.min_side / factor), sampling.max_side // factor
        sides = (panel.height, panel.width)
        usable = [min(max(round(side / factor), smallest), largest) * factor for side in sides]
        if list(sides) != usable:
            raise ValueError(
                f"panel {panel.panel_id}: expected height and width in multiples of {factor} pixels from "
                f"{smallest * factor} to {largest * factor}, got {panel.height} x {panel.width}; "
                f"use {usable[0]} x {usable[1]}"
            )


def batches_by_size(panels: Sequence[SomePanel], batch_size: int) -> list[list[SomePanel]]:
    """``panels`` in batches of at most ``batch_size`` with one height and width each, in order of first appearance."""
    by_size: dict[tuple[int, int], list[SomePanel]] = {}
    for panel in panels:
        by_size.setdefault((panel.height, panel.width), []).append(panel)
    return [
        same_size[start : start + batch_size]
        for same_size in by_size.values()
        for start in range(0, len(same_size), batch_size)
    ]
