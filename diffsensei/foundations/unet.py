"""Trains the SDXL UNet that manga pre-training starts from (paper sec. 5.1 takes SDXL's base weights).

It draws panels of worlds that no experiment uses, from their captions alone, and stands to the drawn worlds as SDXL's
base stands to images at large: what pre-training adds is the experiment's own series.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffsensei.data.panels.buckets import build_buckets, crop_offsets
from diffsensei.foundations.drawn_pool import BUCKETS, PoolPanel, bucket_panels
from diffsensei.foundations.loading import TextEncoder
from diffsensei.foundations.optimisation import build, fit
from diffsensei.foundations.recipes import UNetRecipe
from diffsensei.foundations.vae import to_pixels
from diffsensei.models.conditions import Conditions, micro_conditions
from diffsensei.models.diffusion_loss import DiffusionLoss
from diffsensei.models.text import encode_text
from diffsensei.models.unet import build_unet
from diffsensei.progress import Progress
from diffsensei.seeding import numpy_stream, stream_seed

_ENCODED_TOGETHER = 64
_MEASURED_TOGETHER = 32


@dataclass(frozen=True, eq=False)
class EncodedPanels:
    """All panels of one training size as the UNet meets them; embeddings in half precision."""

    moments: Tensor
    """(n, 2C, h, w)."""
    text_tokens: Tensor
    """(n, T, D)."""
    pooled_text: Tensor
    """(n, P)."""
    time_ids: Tensor
    """(n, 6)."""


@torch.no_grad()
def encoded_panels(vae: Any, text_encoders: Sequence[TextEncoder], panels: list[PoolPanel]) -> list[EncodedPanels]:
    """``panels`` and their captions encoded once, by training size."""
    sizes = build_buckets(BUCKETS)
    found = []
    for bucket in bucket_panels(panels):
        height, width = bucket.images.shape[1:]
        size = next(size for size in sizes if (size.height, size.width) == (height, width))
        starts = range(0, len(bucket.images), _ENCODED_TOGETHER)
        chunks = [slice(start, start + _ENCODED_TOGETHER) for start in starts]
        moments = [vae.encode(to_pixels(bucket.images[chunk])).latent_dist.parameters.half() for chunk in chunks]
        texts = [encode_text(text_encoders, bucket.captions[chunk]) for chunk in chunks]
        time_ids = [micro_conditions(shape, crop_offsets(*shape, size), (height, width)) for shape in bucket.shapes]
        found.append(
            EncodedPanels(
                moments=torch.cat(moments),
                text_tokens=torch.cat([tokens.half() for tokens, _ in texts]),
                pooled_text=torch.cat([pooled.half() for _, pooled in texts]),
                time_ids=torch.tensor(time_ids),
            )
        )
    return found


def train_unet(
    recipe: UNetRecipe, vae: Any, text_encoders: Sequence[TextEncoder], panels: list[PoolPanel], progress: Progress
) -> Any:
    """A text-to-image `UNet2DConditionModel` on the latents of ``vae`` and the text of ``text_encoders``."""
    buckets = encoded_panels(vae, text_encoders, panels)
    no_tokens, no_pooled = encode_text(text_encoders, [""])
    unet: Any = build(
        recipe.fit,
        lambda: build_unet(
            recipe.architecture,
            in_channels=vae.config["latent_channels"],
            cross_attention_dim=no_tokens.shape[-1],
            pooled_dim=no_pooled.shape[-1],
        ),
    )
    unet.to(memory_format=torch.channels_last)
    diffusion_loss = DiffusionLoss(vae.config["scaling_factor"])
    counts = np.array([len(bucket.moments) for bucket in buckets])
    rng = numpy_stream(recipe.fit.seed, "batches")
    generator = torch.Generator().manual_seed(stream_seed(recipe.fit.seed, "noise"))

    def loss_of_step(step: int) -> Tensor:
        bucket = buckets[rng.choice(len(buckets), p=counts / counts.sum())]
        rows = torch.from_numpy(rng.integers(len(bucket.moments), size=recipe.fit.batch))
        dropped = torch.from_numpy(rng.random(len(rows)) < recipe.caption_drop_rate)
        tokens, pooled = bucket.text_tokens[rows].float(), bucket.pooled_text[rows].float()
        tokens[dropped], pooled[dropped] = no_tokens, no_pooled
        conditions = Conditions(tokens, pooled, bucket.time_ids[rows])
        loss: Tensor = diffusion_loss(unet, bucket.moments[rows], conditions, generator)
        return loss

    fit(recipe.fit, [unet], loss_of_step, progress)
    return unet.to(memory_format=torch.contiguous_format)


@torch.no_grad()
def unet_figures(
    unet: Any, vae: Any, text_encoders: Sequence[TextEncoder], panels: list[PoolPanel]
) -> dict[str, float]:
    """Mean squared error of the predicted noise with a panel's caption, with another's, and with none.

    Timesteps and noise are the same for all three; 1.0 is what predicting nothing gives.
    """
    no_tokens, no_pooled = encode_text(text_encoders, [""])
    diffusion_loss = DiffusionLoss(vae.config["scaling_factor"])
    totals = dict.fromkeys(("noise_mse", "noise_mse_other_caption", "noise_mse_no_caption"), 0.0)
    for bucket in encoded_panels(vae, text_encoders, panels):
        count = len(bucket.moments)
        tokens, pooled = bucket.text_tokens.float(), bucket.pooled_text.float()
        wordings = (
            (tokens, pooled),
            (tokens.roll(1, dims=0), pooled.roll(1, dims=0)),
            (no_tokens.expand(count, -1, -1), no_pooled.expand(count, -1)),
        )
        for start in range(0, count, _MEASURED_TOGETHER):
            rows = slice(start, start + _MEASURED_TOGETHER)
            moments = bucket.moments[rows]
            for name, (wording, summary) in zip(totals, wordings, strict=True):
                conditions = Conditions(wording[rows], summary[rows], bucket.time_ids[rows])
                generator = torch.Generator().manual_seed(start)
                loss = diffusion_loss(unet, moments, conditions, generator)
                totals[name] += float(loss) * len(moments)
    figures = {name: round(total / len(panels), 4) for name, total in totals.items()}
    return figures | {"num_panels": len(panels)}
