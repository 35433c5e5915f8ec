"""In which order the panels of a page, and the texts of a panel, are read.

A page is cut along its gutters: into rows, top first; a row that is no more than one into columns, the reading side
first; and so on. What no gutter separates is sorted topologically by pairwise relations: above comes before below,
and beside each other the reading side comes first.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffsensei.geometry import Boxes
from diffsensei.magi.panel_membership import containing_panels, nearest_panels

Order = NDArray[np.intp]
"""Indices in reading order: a permutation."""

TOLERANCES = (0.02, 0.05, 0.1)
"""Share of its width and height that a box loses at each side before gutters are looked for, so that slight overlaps
separate. The next is tried where the one before leaves no gutter, neither way: the clearest cut comes first.
"""

SPANNING_SHARE = 0.25
"""A panel with more than this share of its width on either side of the fold belongs to both halves."""


@dataclass(frozen=True)
class Reading:
    """How pages are read: manga right to left, and of a double page the right half first.

    MangaZero's double pages were joined with the earlier page on the left, so there the left half comes first.
    """

    right_to_left: bool = True
    right_half_first: bool = True


def order_panels(boxes: Boxes, reading: Reading, fold: float | None = None) -> Order:
    """Order of the panels ``boxes`` (n, 4) in pixels. ``fold``: x where a double page folds, None for a single page.

    A panel across the fold is read after what is above its middle on both halves. Does not depend on the order of the
    input, unless boxes are identical.
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    everything = _by_corner(boxes, reading)
    if fold is None:
        return np.array(_cut(everything, boxes, reading), dtype=np.intp)
    on_left = boxes[:, 0] + boxes[:, 2] < 2 * fold
    either_side = np.minimum(fold - boxes[:, 0], boxes[:, 2] - fold)
    spanning = either_side > SPANNING_SHARE * (boxes[:, 2] - boxes[:, 0])
    middle = (boxes[:, 1] + boxes[:, 3]) / 2
    across = sorted((i for i in everything if spanning[i]), key=lambda i: middle[i])
    band = np.searchsorted(middle[across], middle, side="right")
    ordered: list[int] = []
    for number in range(len(across) + 1):
        for left in (not reading.right_half_first, reading.right_half_first):
            half = [i for i in everything if not spanning[i] and band[i] == number and on_left[i] == left]
            ordered += _cut(half, boxes, reading)
        ordered += across[number : number + 1]
    return np.array(ordered, dtype=np.intp)


def order_texts(texts: Boxes, panels: Boxes, reading: Reading) -> Order:
    """Order of ``texts`` (T, 4), given ``panels`` (P, 4) in reading order: by panel, then within it.

    A text belongs to the panel that contains most of it, outside of all to the nearest. Within a panel the reading
    corner of the text counts: how far down plus how far from the side where reading starts.
    """
    if len(texts) == 0:
        return np.zeros(0, dtype=np.intp)
    if len(panels):
        owner = containing_panels(texts, panels)
        owner = np.where(owner < 0, nearest_panels(texts, panels), owner)
    else:
        owner = np.zeros(len(texts), dtype=np.intp)
    return np.array(sorted(_by_corner(texts, reading), key=lambda i: owner[i]), dtype=np.intp)


def _shrunk(boxes: NDArray[np.float64], tolerance: float) -> NDArray[np.float64]:
    margin = tolerance * (boxes[:, 2:] - boxes[:, :2])
    return np.concatenate([boxes[:, :2] + margin, boxes[:, 2:] - margin], axis=1)


def _by_corner(boxes: Boxes, reading: Reading) -> list[int]:
    """Indices by distance of the corner where reading starts from that of the page; ties by the other coordinates."""
    x1, y1, x2, y2 = np.asarray(boxes, dtype=np.float64).reshape(-1, 4).T
    near, far = (-x2, -x1) if reading.right_to_left else (x1, x2)
    return [int(i) for i in np.lexsort((far, y2, y1, near + y1))]


def _cut(members: list[int], boxes: NDArray[np.float64], reading: Reading) -> list[int]:
    if len(members) < 2:
        return members
    for tolerance in TOLERANCES:
        shrunk = _shrunk(boxes, tolerance)
        parts = _gaps(members, shrunk, axis=1)
        if len(parts) == 1:
            parts = _gaps(members, shrunk, axis=0)
            if reading.right_to_left:
                parts.reverse()
        if len(parts) > 1:
            return [i for part in parts for i in _cut(part, boxes, reading)]
    return _interlocked(members, _shrunk(boxes, TOLERANCES[-1]), reading)


def _gaps(members: list[int], boxes: NDArray[np.float64], axis: int) -> list[list[int]]:
    """``members`` in groups whose extents along ``axis`` (0 x, 1 y) do not meet, by rising coordinate."""
    start, end = boxes[members, axis], boxes[members, axis + 2]
    by_start = np.argsort(start, kind="stable")
    reached = np.maximum.accumulate(end[by_start])
    group = np.concatenate([[0], np.cumsum(start[by_start][1:] >= reached[:-1])])
    groups: list[list[int]] = [[] for _ in range(group[-1] + 1)]
    # Members keep the order they came in, which settles ties below.
    for position, number in sorted(zip(by_start.tolist(), group.tolist(), strict=True)):
        groups[number].append(members[position])
    return groups


def _interlocked(members: list[int], boxes: NDArray[np.float64], reading: Reading) -> list[int]:
    """Topological order of ``members``, which come by corner; where relations form a circle, the least bound first."""
    x1, y1, x2, y2 = boxes[members].T
    above = y2[:, None] <= y1[None]
    beside = x1[:, None] >= x2[None] if reading.right_to_left else x2[:, None] <= x1[None]
    earlier = np.arange(len(members))[:, None] < np.arange(len(members))[None]
    level = ~above & ~above.T
    before = above | (level & beside) | (level & ~beside & ~beside.T & earlier)
    waiting = list(range(len(members)))
    ordered = []
    while waiting:
        unmet = before[np.ix_(waiting, waiting)].sum(axis=0)
        ordered.append(members[waiting.pop(int(unmet.argmin()))])
    return ordered
