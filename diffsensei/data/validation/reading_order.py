"""Whether panels are listed as manga is read: right page before left, rows from the top, each from the right."""

from collections.abc import Sequence

import numpy as np

MAX_PANELS = 200
"""Pages with more are not judged: no page has them, and every pair is looked at."""
MIN_OVERLAP = 0.5
"""Share of the lower of two heights that two panels have in common when they stand in one row."""


def misordered_share(boxes: Sequence[Sequence[float]], *, middle: float | None) -> float | None:
    """Of the pairs of panels whose order is plain, the share that is listed the other way round, in [0, 1].

    ``boxes`` are xyxy pixels in listed order. ``middle`` is the x where the left half of a double page ends; panels
    that cross it are compared by rows alone. None where no pair can be judged.
    """
    corners = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    corners = corners[np.isfinite(corners).all(axis=1)]
    if not 2 <= len(corners) <= MAX_PANELS:
        return None
    x1, y1, x2, y2 = corners.T
    height = np.maximum(y2 - y1, 1.0)
    common = np.minimum(y2[:, None], y2) - np.maximum(y1[:, None], y1)
    in_row = common >= MIN_OVERLAP * np.minimum(height[:, None], height)
    centre_x, centre_y = (x1 + x2) / 2, (y1 + y2) / 2
    right_of = centre_x[:, None] > centre_x
    above = centre_y[:, None] < centre_y
    # before[i, j]: panel i is to be read before panel j.
    before = np.where(in_row, right_of, above)
    side = np.zeros(len(corners))
    if middle is not None:
        slack = 0.1 * (x2 - x1)
        side = np.where(x1 >= middle - slack, 1.0, np.where(x2 <= middle + slack, -1.0, 0.0))
        apart = side[:, None] * side < 0
        before = np.where(apart, side[:, None] > side, before)
    # A panel across both halves stands in a row of either: only what lies fully above or below it is comparable.
    plain = (side[:, None] == side) | (side[:, None] * side < 0) | ~in_row
    listed = np.triu(np.ones_like(before), k=1).astype(bool) & plain & (before != before.T)
    pairs = int(listed.sum())
    return None if pairs == 0 else round(float((listed & ~before).sum() / pairs), 4)
