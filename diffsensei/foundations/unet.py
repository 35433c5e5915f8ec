"""Trains the SDXL UNet that manga pre-training starts from (paper sec. 5.1 takes SDXL's base weights).

It draws panels of worlds that no experiment uses, from their captions alone, and stands to the drawn worlds as SDXL's
base stands to images at large: what pre-training adds is the experiment's own series.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor

from diffsensei.data.buckets import build_buckets, crop_offsets
from diffsensei.diffusion.objective import add_noise, epsilon_loss, sample_latents, sample_noise
from diffsensei.foundations.drawn_pool import BUCKETS, PoolPanel, bucket_panels
from diffsensei.foundations.loading import NOISE_SCHEDULE, TextEncoder
from diffsensei.foundations.optimisation import build, fit
from diffsensei.foundations.recipes import UNetRecipe
from diffsensei.foundations.vae import to_pixels
from diffsensei.models.conditions import Conditions, micro_conditions
from diffsensei.models.text import encode_text
from diffsensei.models.unet import build_unet, predict_noise
from diffsensei.progress import Progress
from diffsensei.seeding import numpy_stream, stream_seed

_ENCODED_TOGETHER = 64
_MEASURED_TOGETHER = 32
_ALPHAS_CUMPROD: Tensor = DDPMScheduler(**NOISE_SCHEDULE).alphas_cumprod


@dataclass(frozen=True, eq=False)
class LatentPanels:
    """All panels of one training size as the UNet meets them."""

    moments: Tensor
    """(n, 2C, h, w) float16."""
    captions: list[str]
    time_ids: Tensor
    """(n, 6)."""


@torch.no_grad()
def latent_panels(vae: Any, panels: list[PoolPanel]) -> list[LatentPanels]:
    """``panels`` encoded once, by training size."""
    sizes = build_buckets(BUCKETS)
    found = []
    for bucket in bucket_panels(panels):
        height, width = bucket.images.shape[1:]
        size = next(size for size in sizes if (size.height, size.width) == (height, width))
        parts = [
            vae.encode(to_pixels(bucket.images[start : start + _ENCODED_TOGETHER])).latent_dist.parameters.half()
            for start in range(0, len(bucket.images), _ENCODED_TOGETHER)
        ]
        time_ids = [micro_conditions(shape, crop_offsets(*shape, size), (height, width)) for shape in bucket.shapes]
        found.append(LatentPanels(torch.cat(parts), bucket.captions, torch.tensor(time_ids)))
    return found


def train_unet(
    recipe: UNetRecipe,
    vae: Any,
    text_encoders: Sequence[TextEncoder],
    panels: list[PoolPanel],
    progress: Progress,
) -> Any:
    """A text-to-image `UNet2DConditionModel` on the latents of ``vae`` and the text of ``text_encoders``."""
    buckets = latent_panels(vae, panels)
    tokens, pooled = encode_text(text_encoders, [""])
    unet: Any = build(
        recipe.fit,
        lambda: build_unet(
            recipe.architecture,
            in_channels=vae.config["latent_channels"],
            cross_attention_dim=tokens.shape[-1],
            pooled_dim=pooled.shape[-1],
        ),
    )
    unet.to(memory_format=torch.channels_last)
    counts = np.array([len(bucket.captions) for bucket in buckets])
    rng = numpy_stream(recipe.fit.seed, "batches")
    generator = torch.Generator().manual_seed(stream_seed(recipe.fit.seed, "noise"))

    def loss_of_step(step: int) -> Tensor:
        bucket = buckets[rng.choice(len(buckets), p=counts / counts.sum())]
        rows = rng.integers(len(bucket.captions), size=recipe.fit.batch)
        kept = rng.random(len(rows)) >= recipe.caption_drop_rate
        captions = [bucket.captions[row] if keep else "" for row, keep in zip(rows, kept, strict=True)]
        return _noise_loss(unet, vae, text_encoders, bucket, torch.from_numpy(rows), captions, generator)

    fit(recipe.fit, [unet], loss_of_step, progress)
    return unet.to(memory_format=torch.contiguous_format)


@torch.no_grad()
def unet_figures(
    unet: Any,
    vae: Any,
    text_encoders: Sequence[TextEncoder],
    panels: list[PoolPanel],
) -> dict[str, float]:
    """Mean squared error of the predicted noise with a panel's caption, with another's, and with none.

    Timesteps and noise are the same for all three; 1.0 is what predicting nothing gives.
    """
    totals = dict.fromkeys(("noise_mse", "noise_mse_other_caption", "noise_mse_no_caption"), 0.0)
    for bucket in latent_panels(vae, panels):
        others = bucket.captions[1:] + bucket.captions[:1]
        wordings = (bucket.captions, others, [""] * len(others))
        for start in range(0, len(others), _MEASURED_TOGETHER):
            rows = torch.arange(start, min(start + _MEASURED_TOGETHER, len(others)))
            for name, wording in zip(totals, wordings, strict=True):
                captions = wording[start : start + _MEASURED_TOGETHER]
                generator = torch.Generator().manual_seed(start)
                loss = _noise_loss(unet, vae, text_encoders, bucket, rows, captions, generator)
                totals[name] += float(loss) * len(rows)
    figures = {name: round(total / len(panels), 4) for name, total in totals.items()}
    return figures | {"num_panels": len(panels)}


def _noise_loss(
    unet: Any,
    vae: Any,
    text_encoders: Sequence[TextEncoder],
    bucket: LatentPanels,
    rows: Tensor,
    captions: list[str],
    generator: torch.Generator,
) -> Tensor:
    """Epsilon loss (0-d) on ``rows`` (b,) of ``bucket``, told ``captions`` (b)."""
    with torch.no_grad():
        tokens, pooled = encode_text(text_encoders, captions)
    latents = sample_latents(bucket.moments[rows], vae.config["scaling_factor"], generator)
    noise, timesteps = sample_noise(latents, len(_ALPHAS_CUMPROD), generator)
    noisy = add_noise(latents, noise, timesteps, _ALPHAS_CUMPROD)
    conditions = Conditions(tokens, pooled, bucket.time_ids[rows])
    return epsilon_loss(predict_noise(unet, noisy, timesteps, conditions), noise)
