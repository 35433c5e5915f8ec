"""References reach MS-Diffusion whole, whatever the encoder's own processor would cut off."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from diffsensei.baselines.ms_diffusion.references import EncodedReferences, squashes, squashing
from diffsensei.data.panels.panel_set import PanelSet
from diffsensei.foundations.loading import load_clip_image_encoder
from diffsensei.models.character_features import clip_tokens_of


@pytest.fixture(scope="module")
def clip(world: Any) -> Any:
    """Its processor crops: 16 pixels of the shorter edge, then the centre."""
    return load_clip_image_encoder(world.foundations["clip_image_encoder"])


def wide(edge: int) -> NDArray[np.uint8]:
    """12 x 48, grey at both ends, white in the middle third."""
    image = np.full((12, 48), edge, np.uint8)
    image[:, 16:32] = 255
    return image


def test_the_ends_of_a_wide_reference_are_seen(clip: Any) -> None:
    assert not squashes(clip)
    whole = squashing(clip)
    assert squashes(whole)
    assert squashing(whole) is whole
    assert torch.equal(*(clip_tokens_of(clip, [wide(edge)]) for edge in (0, 128)))
    assert not torch.equal(*(clip_tokens_of(whole, [wide(edge)]) for edge in (0, 128)))


def test_it_is_the_image_resized_to_the_encoders_square(clip: Any) -> None:
    squashed = np.asarray(Image.fromarray(wide(64)).resize((16, 16), Image.Resampling.BICUBIC))
    (seen,) = clip_tokens_of(squashing(clip), [wide(64)])
    (expected,) = clip_tokens_of(clip, [squashed])
    torch.testing.assert_close(seen, expected, atol=1e-4, rtol=1e-4)


def test_crops_of_the_training_panels_mirrored_or_not_and_none(world: Any, clip: Any) -> None:
    panel_set = PanelSet(world.panels / "train")
    references = EncodedReferences(squashing(clip), panel_set)
    tokens, magi = references(np.array([1, 1]), np.array([False, True]))
    assert magi.shape == (2, 0)
    crop = panel_set.crop_image(1)
    torch.testing.assert_close(tokens, clip_tokens_of(squashing(clip), [crop, crop[:, ::-1]]))
    nothing, _ = references(np.array([], np.int64), np.array([], np.bool_))
    assert nothing.shape == (0, *tokens.shape[1:])


def test_embedded_processors_squash_already() -> None:
    assert squashes(load_clip_image_encoder("embedded:clip_image_encoder"))
