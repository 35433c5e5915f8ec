"""Reference images to the features the resampler reads (paper sec. 4.1): local CLIP tokens and one Magi vector."""

import hashlib
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel
from transformers.image_processing_utils import BaseImageProcessor

from diffsensei.seeding import numpy_stream


class ImageEncoder(Protocol):
    """A vision model and what prepares images for it."""

    @property
    def model(self) -> PreTrainedModel: ...

    @property
    def processor(self) -> BaseImageProcessor: ...


def encode_characters(clip: ImageEncoder, magi: ImageEncoder, images: list[NDArray[np.uint8]]) -> tuple[Tensor, Tensor]:
    """K grey images (H, W), each of its own size, to CLIP tokens (K, S, clip_dim) and Magi vectors (K, magi_dim).

    CLIP gives the penultimate layer's tokens, CLS included; Magi's ViT-MAE gives its CLS token. With mask ratio 0 it
    sees every patch in reading order. Otherwise it sees the share of random patches that its configuration leaves, as
    in the reference code, but always the same ones of the same image: the reference draws anew at every call.
    """
    if not images:
        clip_dim, magi_dim = feature_widths(clip, magi)
        patches = (clip.model.config.image_size // clip.model.config.patch_size) ** 2
        nothing = torch.zeros(0, device=clip.model.device, dtype=clip.model.dtype)
        return nothing.new_zeros(0, patches + 1, clip_dim), nothing.new_zeros(0, magi_dim)
    pictures = [Image.fromarray(image).convert("RGB") for image in images]
    with torch.no_grad():
        return encode_with_clip(clip, _pixels(clip, pictures)), encode_with_magi(magi, pictures)


def encode_with_clip(clip: ImageEncoder, pixels: Tensor) -> Tensor:
    """Preprocessed ``pixels`` (K, 3, side, side) to the penultimate layer's tokens (K, S, clip_dim), CLS included."""
    tokens: Tensor = clip.model(pixels, output_hidden_states=True).hidden_states[-2]
    return tokens


def clip_tokens_of(clip: ImageEncoder, images: list[NDArray[np.uint8]]) -> Tensor:
    """K grey images (H, W), also none, to CLIP tokens (K, S, clip_dim)."""
    if not images:
        blank = blank_clip_tokens(clip)
        return blank.new_zeros(0, *blank.shape)
    with torch.no_grad():
        return encode_with_clip(clip, _pixels(clip, [Image.fromarray(image).convert("RGB") for image in images]))


def blank_clip_tokens(clip: ImageEncoder) -> Tensor:
    """(S, clip_dim): the tokens of an image that is zero once preprocessed, of the encoder's mean colour."""
    side = clip.model.config.image_size
    with torch.no_grad():
        pixels = torch.zeros(1, 3, side, side, device=clip.model.device, dtype=clip.model.dtype)
        return encode_with_clip(clip, pixels)[0]


def encode_with_magi(magi: ImageEncoder, pictures: list[Image.Image]) -> Tensor:
    """K RGB pictures, at least one, to Magi vectors (K, magi_dim); see `encode_characters` for the patches it sees."""
    pixels = _pixels(magi, pictures)
    ranks = _patch_ranks(magi.model.config, pixels, pictures)
    vectors: Tensor = magi.model(pixels, noise=ranks).last_hidden_state[:, 0]
    return vectors


def _patch_ranks(config: PretrainedConfig, pixels: Tensor, pictures: list[Image.Image]) -> Tensor:
    """(K, patches): ViT-MAE sorts patches by these numbers, and hides the share ``mask_ratio`` with the largest."""
    patches = (pixels.shape[-2] // config.patch_size) * (pixels.shape[-1] // config.patch_size)
    if config.mask_ratio == 0.0:
        return torch.linspace(0, 1, patches, device=pixels.device).expand(len(pictures), -1)
    digests = [hashlib.sha256(picture.tobytes()).hexdigest() for picture in pictures]
    ranks = np.stack([numpy_stream(0, "hidden patches", digest).random(patches, np.float32) for digest in digests])
    return torch.from_numpy(ranks).to(pixels.device)


def feature_widths(clip: ImageEncoder, magi: ImageEncoder) -> tuple[int, int]:
    """(clip_dim, magi_dim) that `encode_characters` gives with these encoders."""
    return clip.model.config.hidden_size, magi.model.config.hidden_size


def _pixels(encoder: ImageEncoder, pictures: list[Image.Image]) -> Tensor:
    pixels: Tensor = encoder.processor(images=pictures, return_tensors="pt").pixel_values
    return pixels.to(encoder.model.device, encoder.model.dtype)
