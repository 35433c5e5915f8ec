"""Colour: manga is black on white; how much colour did a generator leave?

Chroma of a pixel is the spread max - min of its red, green and blue over 255: 0 for every grey. Mean over pixels, then
over panels. Measured on the file as the method wrote it; everything else is measured in grey.
"""

import numpy as np
from PIL import Image

from diffsensei.evaluation.results import MetricDefinition

CHROMA = MetricDefinition(
    name="chroma",
    label="Colour",
    definition="spread of red, green and blue over 255, mean over pixels and panels",
    unit="share, 0 to 1",
    higher_is_better=False,
    source="ours",
    group="manga",
)
GREY_MODES = ("1", "L", "I;16", "LA")


def mean_chroma(picture: Image.Image) -> float:
    """Mean chroma in [0, 1] of an image."""
    if picture.mode in GREY_MODES:
        return 0.0
    pixels = np.asarray(picture.convert("RGB"))
    return float((pixels.max(axis=2) - pixels.min(axis=2)).mean(dtype=np.float64)) / 255
