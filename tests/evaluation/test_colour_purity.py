import numpy as np
import pytest
from PIL import Image

from diffsensei.evaluation.colour_purity import mean_chroma


def test_greys_have_none_in_any_mode():
    grey = np.random.default_rng(0).integers(0, 256, size=(8, 6), dtype=np.uint8)
    assert mean_chroma(Image.fromarray(grey)) == 0.0
    assert mean_chroma(Image.fromarray(np.stack([grey] * 3, axis=-1))) == 0.0


def test_a_quarter_of_pure_red():
    pixels = np.full((4, 4, 3), 90, np.uint8)
    pixels[:2, :2] = (255, 0, 0)
    assert mean_chroma(Image.fromarray(pixels)) == pytest.approx(0.25)
