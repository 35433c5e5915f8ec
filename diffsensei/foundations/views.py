"""Square inputs of the image encoders, and the random views of them that training sees."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from transformers import BitImageProcessorPil, CLIPImageProcessorPil, ViTImageProcessorPil
from transformers.image_processing_utils import BaseImageProcessor

from diffsensei.foundations.drawn_pool import Grey

_PROCESSORS = {"clip": CLIPImageProcessorPil, "vit": ViTImageProcessorPil, "bit": BitImageProcessorPil}
_MAX_SHIFT = 0.04
_MAX_ZOOM = 0.06
_MAX_NOISE = 0.06
_BLUR_RATE = 0.3


def square_processor(kind: str, side: int) -> BaseImageProcessor:
    """The processor (``clip``, ``vit`` or ``bit``) that squashes an image to ``side`` and scales it to [-1, 1].

    Squashing keeps all of a tall figure; the released encoders' centre crop would cut its head off.
    """
    options: dict[str, Any] = (
        {"do_center_crop": False, "crop_size": {"height": side, "width": side}} if kind != "vit" else {}
    )
    return _PROCESSORS[kind](
        size={"height": side, "width": side},
        resample=Image.Resampling.BICUBIC,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        **options,
    )


def squashed(images: Sequence[Grey], side: int) -> Grey:
    """Grey images of any size as (n, side, side) uint8, resized as `square_processor` does."""
    resized = [Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC) for image in images]
    return np.stack([np.asarray(image) for image in resized])


def as_input(images: Grey) -> Tensor:
    """(n, side, side) uint8 as the encoders' input (n, 3, side, side) in [-1, 1]."""
    grey = torch.from_numpy(np.ascontiguousarray(images)).float().div_(127.5).sub_(1)
    return grey[:, None].expand(-1, 3, -1, -1)


def random_views(images: Grey, generator: torch.Generator) -> Tensor:
    """Input (n, 3, side, side) of ``images`` shifted, zoomed, blurred, dimmed and made noisy at random."""
    count = len(images)
    pixels = torch.from_numpy(np.ascontiguousarray(images)).float().div_(127.5).sub_(1)[:, None]
    zoom = torch.exp((torch.rand(count, 2, generator=generator) * 2 - 1) * math.log1p(_MAX_ZOOM))
    shift = (torch.rand(count, 2, generator=generator) * 2 - 1) * 2 * _MAX_SHIFT
    matrix = torch.cat([torch.diag_embed(zoom), shift[:, :, None]], dim=2)
    grid = functional.affine_grid(matrix, list(pixels.shape), align_corners=False)
    pixels = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    soft = functional.avg_pool2d(pixels, 3, stride=1, padding=1, count_include_pad=False)
    blurred = torch.rand(count, 1, 1, 1, generator=generator) < _BLUR_RATE
    pixels = torch.where(blurred, (soft + pixels) / 2, pixels)
    contrast = 0.8 + 0.3 * torch.rand(count, 1, 1, 1, generator=generator)
    strength = _MAX_NOISE * torch.rand(count, 1, 1, 1, generator=generator)
    pixels = pixels * contrast + strength * torch.randn(pixels.shape, generator=generator)
    return pixels.clamp(-1, 1).expand(-1, 3, -1, -1)
