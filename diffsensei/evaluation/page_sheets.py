"""Dialogs looked for on whole pages: a page's panels on one sheet, one detection, boxes mapped back.

Magi learned from pages, and one page costs it what one panel does. The benchmark does not know where the panels stood
on their page, so they stand on shelves in reading order, at their own size, with white gutters between them. A
detection belongs to the panel that its centre lies in and is clipped to it; one centred in a gutter belongs to none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from diffsensei.geometry import Boxes

GUTTER = 16
WHITE = 255
Gray = NDArray[np.uint8]


@dataclass(frozen=True)
class Sheet:
    image: Gray
    frames: Boxes
    """(n, 4) xyxy in pixels of the sheet: where each panel stands."""


def lay_out(panels: Sequence[Gray]) -> Sheet:
    """One sheet of at least one panel (h, w); about as wide as high, never narrower than the widest panel."""
    sizes = np.array([panel.shape for panel in panels])
    limit = max(int(sizes[:, 1].max()), int(np.sqrt(np.prod(sizes, axis=1).sum()))) + GUTTER
    frames, x, y, shelf = [], GUTTER, GUTTER, 0
    for height, width in sizes.tolist():
        if x > GUTTER and x + width > limit + GUTTER:
            x, y, shelf = GUTTER, y + shelf + GUTTER, 0
        frames.append((x, y, x + width, y + height))
        x, shelf = x + width + GUTTER, max(shelf, height)
    placed = np.array(frames)
    sheet = np.full((placed[:, 3].max() + GUTTER, placed[:, 2].max() + GUTTER), WHITE, np.uint8)
    for panel, (left, top, right, bottom) in zip(panels, frames, strict=True):
        sheet[top:bottom, left:right] = panel
    return Sheet(sheet, placed.astype(np.float64))


def into_panels(boxes: Boxes, frames: Boxes) -> list[NDArray[np.float64]]:
    """Boxes (K, 4) of a sheet as boxes of its panels, in pixels of each: one array (k, 4) per frame (n, 4)."""
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    mapped = []
    for frame in np.asarray(frames, dtype=np.float64):
        inside = np.all((centres >= frame[:2]) & (centres < frame[2:]), axis=1)
        size = np.tile(frame[2:] - frame[:2], 2)
        mapped.append(np.clip(boxes[inside] - np.tile(frame[:2], 2), 0, size))
    return mapped


def page_runs(page_ids: Sequence[str]) -> list[range]:
    """The index ranges of neighbouring panels of one page."""
    starts = [index for index, page in enumerate(page_ids) if index == 0 or page != page_ids[index - 1]]
    return [range(start, end) for start, end in pairwise([*starts, len(page_ids)])]
