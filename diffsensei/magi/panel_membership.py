"""Which panel a character or a text belongs to."""

import numpy as np
from numpy.typing import NDArray

from diffsensei.geometry import Boxes, area, intersection

_SAME = 1e-9
"""Relative difference below which two overlaps are one: the same box against two panels."""


def containing_panels(boxes: Boxes, panels: Boxes) -> NDArray[np.intp]:
    """Index (n,) of the panel that contains most of each of ``boxes`` (n, 4), -1 where no panel overlaps.

    Of panels that contain the same share, as an inset and the panel around it, the smaller.
    """
    if len(panels) == 0:
        return np.full(len(boxes), -1, dtype=np.intp)
    common = intersection(np.asarray(boxes).reshape(-1, 1, 4), panels)
    most = common.max(axis=1, keepdims=True)
    sizes = np.where(common >= most * (1 - _SAME), area(panels), np.inf)
    return np.where(most[:, 0] > 0, sizes.argmin(axis=1), -1)


def nearest_panels(boxes: Boxes, panels: Boxes) -> NDArray[np.intp]:
    """Index (n,) of the panel with the smallest gap to each of ``boxes`` (n, 4); of equal ones the first."""
    ours, theirs = np.asarray(boxes, dtype=np.float64).reshape(-1, 1, 4), np.asarray(panels, dtype=np.float64)
    gaps = np.maximum(np.maximum(theirs[:, :2] - ours[..., 2:], ours[..., :2] - theirs[:, 2:]), 0)
    return np.hypot(gaps[..., 0], gaps[..., 1]).argmin(axis=1)
