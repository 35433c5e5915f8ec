"""Character features: sizes, determinism, and ViT-MAE that sees everything."""

import copy
from typing import Any

import numpy as np
import torch

from diffsensei.models.character_features import encode_characters, feature_widths


def drawings() -> list[np.ndarray]:
    stream = np.random.default_rng(0)
    return [stream.integers(0, 256, size, dtype=np.uint8) for size in ((20, 9), (7, 31), (16, 16))]


def test_shapes_for_images_of_any_size_and_for_none(image_encoders: tuple[Any, Any]) -> None:
    clip_tokens, magi_cls = encode_characters(*image_encoders, drawings())
    assert feature_widths(*image_encoders) == (8, 12)
    assert clip_tokens.shape == (3, 5, 8)
    assert magi_cls.shape == (3, 12)
    no_tokens, no_cls = encode_characters(*image_encoders, [])
    assert no_tokens.shape == (0, 5, 8)
    assert no_cls.shape == (0, 12)


def test_features_are_in_the_encoders_precision(image_encoders: tuple[Any, Any]) -> None:
    """Also those of no images, which guidance's negative branch asks for."""
    clip, magi = (copy.deepcopy(encoder) for encoder in image_encoders)
    for encoder in (clip, magi):
        encoder.model.to(torch.bfloat16)
    for images in (drawings(), []):
        clip_tokens, magi_cls = encode_characters(clip, magi, images)
        assert clip_tokens.dtype == magi_cls.dtype == torch.bfloat16


def test_the_same_whatever_the_batch_and_the_global_generator(image_encoders: tuple[Any, Any]) -> None:
    clip_tokens, magi_cls = encode_characters(*image_encoders, drawings())
    torch.manual_seed(123)
    clip_alone, magi_alone = encode_characters(*image_encoders, drawings()[1:2])
    torch.testing.assert_close(clip_tokens[1:2], clip_alone)
    torch.testing.assert_close(magi_cls[1:2], magi_alone)


def test_clip_tokens_are_the_penultimate_layers(image_encoders: tuple[Any, Any]) -> None:
    clip, _ = image_encoders
    image = np.full((16, 16), 90, dtype=np.uint8)
    pixels = clip.processor(images=[np.stack([image] * 3, axis=-1)], return_tensors="pt").pixel_values
    with torch.no_grad():
        expected = clip.model(pixels, output_hidden_states=True).hidden_states[2]
    torch.testing.assert_close(encode_characters(*image_encoders, [image])[0], expected)


def test_a_masking_encoder_hides_the_same_patches_of_the_same_image(image_encoders: tuple[Any, Any]) -> None:
    """Whatever the batch and the global generator; other images (mirrored ones too) have their own."""
    clip, magi = image_encoders
    masking = copy.deepcopy(magi)
    masking.model.config.mask_ratio = 0.75
    images = drawings()
    _, together = encode_characters(clip, masking, images)
    torch.manual_seed(7)
    _, alone = encode_characters(clip, masking, images[2:])
    torch.testing.assert_close(together[2:], alone)
    _, whole = encode_characters(clip, magi, images)
    assert not torch.allclose(together, whole)
    seen = [masking.model(masking_pixels(masking, image), noise=None).last_hidden_state.shape[1] for image in images]
    assert seen == [2, 2, 2], "one of four patches, and CLS"


def masking_pixels(encoder: Any, image: np.ndarray) -> torch.Tensor:
    picture = np.stack([image] * 3, axis=-1)
    return encoder.processor(images=[picture], return_tensors="pt").pixel_values
