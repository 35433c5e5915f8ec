"""Which detections of a page are kept (reference code): thresholds per label, then duplicates go.

Characters may overlap freely. A panel goes when others that score higher cover most of it together, because a page's
panels tile it; a text goes when it overlaps a single better one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffsensei.geometry import Boxes, area, suppress_overlaps
from diffsensei.magi.network import CHARACTER, PANEL, TEXT

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Thresholds:
    """The reference code's defaults; all are shares or scores in [0, 1]."""

    character: float = 0.3
    panel: float = 0.2
    text: float = 0.25
    covered_panel: float = 0.5
    """A panel goes when more than this share of it is covered by panels already kept."""
    overlapping_text: float = 0.5
    """A text goes when its IoU with one already kept exceeds this."""
    same_character: float = 0.65
    dialog: float = 0.4
    """Texts less surely a dialog have no speaker."""


@dataclass(frozen=True)
class Selection:
    """Indices of the objects kept, each by falling score."""

    characters: Indices
    panels: Indices
    texts: Indices


def select_objects(
    boxes: Boxes, scores: NDArray[np.floating], labels: NDArray[np.integer], thresholds: Thresholds
) -> Selection:
    """Objects to keep of a page's ``boxes`` (Q, 4) in pixels with their scores and labels (Q,)."""
    by_score = np.argsort(-scores, kind="stable")

    def candidates(label: int, enough: NDArray[np.bool_]) -> Indices:
        return by_score[(labels == label)[by_score] & enough[by_score]]

    characters = candidates(CHARACTER, scores > thresholds.character)
    panels = candidates(PANEL, scores >= thresholds.panel)
    texts = candidates(TEXT, scores > thresholds.text)
    return Selection(
        characters=characters,
        panels=panels[suppress_covered(boxes[panels], scores[panels], thresholds.covered_panel)],
        texts=texts[suppress_overlaps(boxes[texts], scores[texts], thresholds.overlapping_text)],
    )


def suppress_covered(boxes: Boxes, scores: NDArray[np.floating], max_share: float) -> Indices:
    """Indices of the ``boxes`` (n, 4) to keep, by falling score: one goes when those kept cover more of it together.

    Equal scores keep their order.
    """
    kept: list[int] = []
    for index in np.argsort(-np.asarray(scores), kind="stable"):
        if covered_share(boxes[index], boxes[kept]) <= max_share:
            kept.append(int(index))
    return np.array(kept, dtype=np.intp)


def covered_share(box: Boxes, others: Boxes) -> float:
    """Share in [0, 1] of ``box`` (4,) that lies in the union of ``others`` (n, 4); 0 for a box without area."""
    whole = float(area(box))
    if whole == 0 or len(others) == 0:
        return 0.0
    inside = np.concatenate([np.maximum(others[:, :2], box[:2]), np.minimum(others[:, 2:], box[2:])], axis=1)
    inside = inside[area(inside) > 0]
    # The edges of all boxes make a grid whose cells are wholly inside or wholly outside of each of them.
    x, y = np.unique(inside[:, 0::2]), np.unique(inside[:, 1::2])
    columns = (inside[:, 0, None] <= x[:-1]) & (inside[:, 2, None] >= x[1:])
    rows = (inside[:, 1, None] <= y[:-1]) & (inside[:, 3, None] >= y[1:])
    covered = (rows[:, :, None] & columns[:, None, :]).any(axis=0)
    return float(np.diff(y) @ covered @ np.diff(x)) / whole
