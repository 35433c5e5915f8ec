"""One pass of an encoder over a list of panels.

A square encoder meets a panel in one of three ways (``fit``): its own processor's (short side to size, centre crop: up
to three quarters of a 4:1 panel go unseen), padded to a square with white, or squashed to a square.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from diffsensei.devices import own_device
from diffsensei.evaluation.feature_cache import Embed, Gray
from diffsensei.foundations.judge_encoders import (
    JudgeClip,
)
from diffsensei.foundations.loading import ImageEncoder

Fit = Literal["processor", "pad", "squash"]
BATCH_SIZE = 64
WHITE = 255


def clip_image_embedder(judge: JudgeClip, fit: Fit) -> Embed:
    """Projected CLIP image embeddings (n, d), not normalised."""
    model = placed(judge.model)
    return lambda images: _in_batches(
        images, judge.processor, fit, lambda pixels: model.get_image_features(pixel_values=pixels).pooler_output, model
    )


def class_token_embedder(encoder: ImageEncoder, fit: Fit) -> Embed:
    """Class tokens (n, d) of the last layer of a DINOv2-like encoder."""
    model = placed(encoder.model)
    return lambda images: _in_batches(
        images, encoder.processor, fit, lambda pixels: model(pixel_values=pixels).last_hidden_state[:, 0], model
    )


def embed_captions(judge: JudgeClip, captions: Sequence[str]) -> NDArray[np.float32]:
    """Projected CLIP text embeddings (n, d), cut at the encoder's length, not normalised."""
    model = placed(judge.model)
    embedded = []
    for start in range(0, len(captions), BATCH_SIZE):
        tokens = judge.tokenizer(
            list(captions[start : start + BATCH_SIZE]),
            padding="max_length",
            truncation=True,
            max_length=model.config.text_config.max_position_embeddings,
            return_tensors="pt",
        ).to(own_device())
        with torch.no_grad():
            embedded.append(model.get_text_features(**tokens).pooler_output.float().cpu().numpy())
    return np.concatenate(embedded) if embedded else np.zeros((0, 0), np.float32)


def fit_to_square(image: Gray, edge: int, fit: Literal["pad", "squash"], resample: Image.Resampling) -> Image.Image:
    """``image`` (H, W) as an RGB square of ``edge`` pixels, padded with white at the centre or squashed."""
    picture = Image.fromarray(image).convert("RGB")
    if fit == "pad":
        side = max(picture.size)
        square = Image.new("RGB", (side, side), (WHITE, WHITE, WHITE))
        square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
        picture = square
    return picture.resize((edge, edge), resample)


def _in_batches(
    images: Sequence[Gray], processor: Any, fit: Fit, forward: Callable[[torch.Tensor], torch.Tensor], model: Any
) -> NDArray[np.float32]:
    features = []
    for start in range(0, len(images), BATCH_SIZE):
        batch = images[start : start + BATCH_SIZE]
        if fit == "processor":
            pictures = [Image.fromarray(image).convert("RGB") for image in batch]
            pixels = processor(images=pictures, return_tensors="pt")["pixel_values"]
        else:
            resample = Image.Resampling(processor.resample)
            pictures = [fit_to_square(image, _edge(processor), fit, resample) for image in batch]
            pixels = processor(images=pictures, do_resize=False, do_center_crop=False, return_tensors="pt")[
                "pixel_values"
            ]
        with torch.no_grad():
            features.append(forward(pixels.to(own_device(), next(model.parameters()).dtype)).float().cpu().numpy())
    return np.concatenate(features) if features else np.zeros((0, 0), np.float32)


def _edge(processor: Any) -> int:
    """The square edge a processor ends at: its crop where it crops, its size otherwise."""
    size = processor.crop_size if getattr(processor, "do_center_crop", False) else processor.size
    return int(size["height"])


def placed(model: Any) -> Any:
    """On the device that judges, ready to."""
    return model.to(own_device()).eval().requires_grad_(False)
