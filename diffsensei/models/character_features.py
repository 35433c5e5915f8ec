"""Reference images to the features the resampler reads (paper sec. 4.1): local CLIP tokens and one Magi vector."""

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel
from transformers.image_processing_utils import BaseImageProcessor


class ImageEncoder(Protocol):
    """A vision model and what prepares images for it."""

    @property
    def model(self) -> PreTrainedModel: ...

    @property
    def processor(self) -> BaseImageProcessor: ...


def encode_characters(clip: ImageEncoder, magi: ImageEncoder, images: list[NDArray[np.uint8]]) -> tuple[Tensor, Tensor]:
    """K grey images (H, W), each of its own size, to CLIP tokens (K, S, clip_dim) and Magi vectors (K, magi_dim).

    CLIP gives the penultimate layer's tokens, CLS included; Magi's ViT-MAE gives its CLS token and sees every patch
    in reading order. (Left alone, ViT-MAE hides random patches and shuffles the rest, at inference too.)
    Raises ValueError for a ViT-MAE that would mask.
    """
    if magi.model.config.mask_ratio != 0.0:
        raise ValueError(
            f"expected a Magi encoder with mask_ratio 0, got {magi.model.config.mask_ratio}; load it with 0"
        )
    if not images:
        clip_dim, magi_dim = feature_widths(clip, magi)
        patches = (clip.model.config.image_size // clip.model.config.patch_size) ** 2
        nothing = torch.zeros(0, device=clip.model.device, dtype=clip.model.dtype)
        return nothing.new_zeros(0, patches + 1, clip_dim), nothing.new_zeros(0, magi_dim)
    pictures = [Image.fromarray(image).convert("RGB") for image in images]
    with torch.no_grad():
        clip_output = clip.model(_pixels(clip, pictures), output_hidden_states=True)
        magi_vectors = encode_with_magi(magi, pictures)
    return clip_output.hidden_states[-2], magi_vectors


def encode_with_magi(magi: ImageEncoder, pictures: list[Image.Image]) -> Tensor:
    """K RGB pictures, at least one, to Magi vectors (K, magi_dim), every patch seen in reading order."""
    pixels = _pixels(magi, pictures)
    patches = (pixels.shape[-2] // magi.model.config.patch_size) * (pixels.shape[-1] // magi.model.config.patch_size)
    in_order = torch.linspace(0, 1, patches, device=pixels.device).expand(len(pictures), -1)
    vectors: Tensor = magi.model(pixels, noise=in_order).last_hidden_state[:, 0]
    return vectors


def feature_widths(clip: ImageEncoder, magi: ImageEncoder) -> tuple[int, int]:
    """(clip_dim, magi_dim) that `encode_characters` gives with these encoders."""
    return clip.model.config.hidden_size, magi.model.config.hidden_size


def _pixels(encoder: ImageEncoder, pictures: list[Image.Image]) -> Tensor:
    pixels: Tensor = encoder.processor(images=pictures, return_tensors="pt").pixel_values
    return pixels.to(encoder.model.device, encoder.model.dtype)
