"""Trains the autoencoder (paper sec. 5.1 takes SDXL's): sharp grey panels from 4 channels at a quarter of the size."""

from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from diffsensei.foundations.drawn_pool import LARGE_BUCKETS, BucketPanels, Grey, PoolPanel, bucket_panels
from diffsensei.foundations.optimisation import build, fit
from diffsensei.foundations.recipes import VaeRecipe
from diffsensei.progress import Progress
from diffsensei.seeding import numpy_stream, stream_seed

_MEASURED_PANELS = 64
_MAX_SIDE = 64
"""Larger panels than the tiny tier's are seen through a window of this side."""


def train_vae(recipe: VaeRecipe, panels: list[PoolPanel], large_panels: list[PoolPanel], progress: Progress) -> Any:
    """An `AutoencoderKL` of latents with zero mean and unit variance per channel, so its scaling factor is 1.

    ``large_panels`` are those of pages drawn twice as high, seen at the 128 px tier.
    """
    model = build(recipe.fit, lambda: _model(recipe))
    model = model.to(memory_format=torch.channels_last)
    buckets, large = bucket_panels(panels), bucket_panels(large_panels, LARGE_BUCKETS)
    rng = numpy_stream(recipe.fit.seed, "batches")
    generator = torch.Generator().manual_seed(stream_seed(recipe.fit.seed, "posterior"))

    def loss_of_step(step: int) -> Tensor:
        source = large if rng.random() < recipe.large_rate else buckets
        images = to_pixels(_draw_batch(source, recipe.fit.batch, rng))
        posterior = model.encode(images).latent_dist
        decoded = model.decode(posterior.sample(generator)).sample
        return _distance(decoded, images, recipe.edge_weight) + recipe.kl_weight * _mean_kl(posterior)

    fit(recipe.fit, [model], loss_of_step, progress)
    _standardise(model, buckets)
    return model.to(memory_format=torch.contiguous_format)


def _draw_batch(buckets: list[BucketPanels], batch: int, rng: np.random.Generator) -> Grey:
    """Images (batch, h, w) of one size, sizes drawn by how many panels they have, half of the batches mirrored."""
    counts = np.array([len(bucket.images) for bucket in buckets])
    bucket = buckets[rng.choice(len(buckets), p=counts / counts.sum())]
    images = bucket.images[rng.integers(len(bucket.images), size=batch)]
    height, width = images.shape[1:]
    if height * width > 2 * _MAX_SIDE**2:
        y, x = (int(rng.integers(max(side - _MAX_SIDE, 0) + 1)) for side in (height, width))
        images = images[:, y : y + _MAX_SIDE, x : x + _MAX_SIDE]
    return images[:, :, ::-1] if rng.random() < 0.5 else images


def to_pixels(images: Grey) -> Tensor:
    """Grey images (n, h, w) uint8 as (n, 3, h, w) in [-1, 1], channels last in memory."""
    grey = torch.from_numpy(np.ascontiguousarray(images)).float().div_(127.5).sub_(1)
    return grey[:, None].expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def _model(recipe: VaeRecipe) -> Any:
    levels = len(recipe.block_out_channels)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=recipe.block_out_channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=recipe.layers_per_block,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=64,
    )


def _distance(decoded: Tensor, images: Tensor, edge_weight: float) -> Tensor:
    error = decoded - images
    edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    return error.abs().mean() + edge_weight * edges


def _mean_kl(posterior: Any) -> Tensor:
    mean, logvar = posterior.mean, posterior.logvar
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()


@torch.no_grad()
def _standardise(model: Any, buckets: list[BucketPanels]) -> None:
    """Fold the latents' mean and deviation per channel into the 1x1 convolutions on both sides of them."""
    latents = [
        model.encode(to_pixels(bucket.images[:_MEASURED_PANELS])).latent_dist.mean.transpose(0, 1).flatten(1)
        for bucket in buckets
    ]
    values = torch.cat(latents, dim=1)
    mean, deviation = values.mean(dim=1), values.std(dim=1)
    quant, post = model.quant_conv, model.post_quant_conv
    channels = len(mean)
    quant.weight[:channels] /= deviation[:, None, None, None]
    quant.bias[:channels] = (quant.bias[:channels] - mean) / deviation
    quant.bias[channels:] -= 2 * deviation.log()
    post.bias += post.weight[:, :, 0, 0] @ mean
    post.weight *= deviation[None, :, None, None]
    model.register_to_config(scaling_factor=1.0)
