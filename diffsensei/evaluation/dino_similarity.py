"""DINO-I and DINO-C (paper, section 5.1): does the panel look like the true one, and its characters like themselves?

DINO-I  cos(CLS of the generated panel, CLS of the true panel), mean over panels.
DINO-C  the same for crops at the input character boxes, mean over characters, in two readings, as the paper does not
        say which it used: against the true panel's crop at the same box (target; the reference evaluation data set
        returns these crops) and against the reference image the generator was given (source). A method that copies
        its reference gains in the second and loses in the first.
Boxes become pixels by truncation, clamped to the panel, as in the reference code. Crops with a side under the
configured minimum are left out and counted. The encoder is a DINOv2-like transformer (Oquab et al. 2023).
"""

import numpy as np
from numpy.typing import NDArray

from diffsensei.evaluation.results import MetricDefinition
from diffsensei.geometry import pixel_box

DINO_I = MetricDefinition(
    name="dino_i",
    label="DINO-I",
    definition="cosine of the DINO class tokens of the generated and the true panel, mean over panels",
    unit="cosine, -1 to 1",
    higher_is_better=True,
    source="paper, section 5.1",
)
DINO_C = MetricDefinition(
    name="dino_c",
    label="DINO-C",
    definition="cosine of the DINO class tokens of the generated and the true crop at the character's box, "
    "mean over characters",
    unit="cosine, -1 to 1",
    higher_is_better=True,
    source="paper, section 5.1; target reading",
)
DINO_C_SOURCE = MetricDefinition(
    name="dino_c_source",
    label="DINO-C (source)",
    definition="cosine of the DINO class tokens of the generated crop at the character's box and the reference image, "
    "mean over characters",
    unit="cosine, -1 to 1",
    higher_is_better=True,
    source="paper, section 5.1; source reading",
)
DINO_C_PANELS = DINO_C.replaced(
    name="dino_c_panel_mean",
    label="DINO-C, panel mean",
    definition="as DINO-C, characters averaged per panel before panels are: a crowd weighs as much as one",
    group="variant",
)
DINO_C_SOURCE_PANELS = DINO_C_SOURCE.replaced(
    name="dino_c_source_panel_mean",
    label="DINO-C (source), panel mean",
    definition="as DINO-C (source), characters averaged per panel before panels are",
    group="variant",
)


def character_crop(image: NDArray[np.uint8], box: tuple[float, ...], min_side: int) -> NDArray[np.uint8] | None:
    """The part of ``image`` (H, W) in the relative ``box``, or None where a side is under ``min_side`` pixels."""
    left, top, right, bottom = pixel_box(np.asarray(box), *image.shape[:2])
    if right - left < min_side or bottom - top < min_side:
        return None
    return image[top:bottom, left:right]


def cosine(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    """Row-wise cosine of (n, d) and (n, d): (n,) in [-1, 1]; a zero vector gives NaN, never 0."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    length = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.divide(np.sum(a * b, axis=1), length, out=np.full(len(a), np.nan), where=length > 0)
