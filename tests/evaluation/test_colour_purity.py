import numpy as np
import pytest
from PIL import Image

from diffsensei.evaluation.colour_purity import mean_chroma


def test_greys_have_none_in_any_mode(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, size=(8, 6), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "l.png")
    Image.fromarray(np.stack([grey] * 3, axis=-1)).save(tmp_path / "rgb.png")
    assert mean_chroma(tmp_path / "l.png") == mean_chroma(tmp_path / "rgb.png") == 0.0


def test_a_quarter_of_pure_red(tmp_path):
    pixels = np.full((4, 4, 3), 90, np.uint8)
    pixels[:2, :2] = (255, 0, 0)
    Image.fromarray(pixels).save(tmp_path / "red.png")
    assert mean_chroma(tmp_path / "red.png") == pytest.approx(0.25)
