"""From noise to grey panels, whatever predicts the noise: sampling, decoding, and the sizes that can be drawn."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from PIL import Image
from torch import Tensor

from diffsensei.config.schema import SamplingConfig
from diffsensei.diffusion.guidance import Predict
from diffsensei.diffusion.sampling import denoise, initial_noise
from diffsensei.methods.method import Page, Panel
from diffsensei.methods.rollout import Turn, batches_by_size, in_reading_order
from diffsensei.models.offload import on_its_device

OnStepOfBatch = Callable[[Sequence[str], int, int, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Painter:
    """A UNet with its autoencoder and noise schedule."""

    vae: AutoencoderKL
    unet: UNet2DConditionModel
    scheduler: SchedulerMixin
    on_step: OnStepOfBatch | None = None
    """Called after every denoising step with the batch's panel ids, the step, its timestep and the latents; returns
    the latents to go on with."""

    def draw(
        self, panels: Sequence[Panel], predictor: Callable[[Sequence[Panel]], Predict], sampling: SamplingConfig
    ) -> Iterator[tuple[str, Image.Image]]:
        """Each panel's id and image, in batches of equal size; ``predictor`` says what guides the noise of a batch.

        Raises ValueError for a size that the autoencoder cannot give or ``sampling`` does not allow.
        """
        for panel in panels:
            self.check_size(panel, sampling)
        for batch in batches_by_size(panels, sampling.batch_size):
            latents = self.sample(batch, predictor(batch), sampling)
            yield from zip([panel.panel_id for panel in batch], self.decode(latents), strict=True)

    def draw_in_turn(
        self,
        pages: Sequence[Page],
        folder: Path,
        window: int,
        predictor: Callable[[Sequence[Turn]], Predict],
        sampling: SamplingConfig,
    ) -> Iterator[tuple[str, Image.Image]]:
        """`in_reading_order`, where ``predictor`` sees of each panel of a batch what was drawn before it."""

        def draw(turns: Sequence[Turn]) -> Iterator[tuple[str, Image.Image]]:
            by_id = {turn.panel.panel_id: turn for turn in turns}

            def of_batch(batch: Sequence[Panel]) -> Predict:
                return predictor([by_id[panel.panel_id] for panel in batch])

            return self.draw([turn.panel for turn in turns], of_batch, sampling)

        return in_reading_order(pages, folder, window, draw)

    def sample(self, batch: Sequence[Panel], predict: Predict, sampling: SamplingConfig) -> Tensor:
        """Latents (B, 4, h, w), float32, of panels of one size. Each panel's noise comes from its own seed, so that its
        company changes nothing."""
        unet, factor = on_its_device(self.unet), self.factor
        seeds = [panel.seed for panel in batch]
        noise = initial_noise(
            seeds, unet.config["in_channels"], batch[0].height // factor, batch[0].width // factor
        ).to(unet.device)
        on_step = partial(self.on_step, [panel.panel_id for panel in batch]) if self.on_step else None

        def predict_in_float(latents: Tensor, timesteps: Tensor) -> Tensor:
            return predict(latents.to(unet.dtype), timesteps).float()

        return denoise(predict_in_float, noise, self.scheduler, sampling.steps, seeds, on_step)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> list[Image.Image]:
        """In the autoencoder's own precision (SDXL's overflows in float16); the colour channels are averaged."""
        decoded = self.vae.decode(latents.to(self.vae.dtype) / self.vae.config["scaling_factor"]).sample
        grey = (decoded.float().mean(dim=1) / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
        return [Image.fromarray(pixels) for pixels in grey.cpu().numpy()]

    @property
    def factor(self) -> int:
        """Pixels to a latent, per side."""
        return 2 ** (len(self.vae.config["block_out_channels"]) - 1)

    def check_size(self, panel: Panel, sampling: SamplingConfig) -> None:
        """Raises ValueError, with the nearest size that can be drawn."""
        factor = self.factor
        smallest, largest = math.ceil(sampling.min_side / factor), sampling.max_side // factor
        sides = (panel.height, panel.width)
        usable = [min(max(round(side / factor), smallest), largest) * factor for side in sides]
        if list(sides) != usable:
            raise ValueError(
                f"panel {panel.panel_id}: expected height and width in multiples of {factor} pixels from "
                f"{smallest * factor} to {largest * factor}, got {panel.height} x {panel.width}; "
                f"use {usable[0]} x {usable[1]}"
            )
