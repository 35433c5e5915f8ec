"""The automatic page: rows of panels with gutters and margins, in reading order, the same for the same panels."""

import math
from collections.abc import Iterator, Sequence

from diffsensei.inference.story import Reading, StoryPage, StoryPanel

Box = tuple[float, float, float, float]

MAX_PANELS_PER_ROW = 4
ASPECT = 1.3
"""Wished width over height of a panel that says nothing: as wide as panels of a page in three rows are."""
ROW_GUTTER = 1.5
"""Space between rows over the space between panels of a row. Readers finish a row first because it is wider."""
_LEAD = 1.25
"""How much wider than told one panel of each row is: the first in odd rows and the last in even ones, so that gutters
of neighbouring rows do not line up into a cross that leaves the reading order open."""
_ROW_GROWTH = 0.6
"""Exponent from a row's weight to its height: below 1, so that a panel alone in a row is no thin strip."""


def lay_out(page: StoryPage, reading: Reading) -> list[Box]:
    """A box for each panel of ``page``, relative to the page, xyxy.

    Of all ways to break the panels into rows it takes the one whose panels are nearest to their wished aspects; rows
    with heavier panels are higher and heavier panels of a row wider.
    """
    unit = min(page.width, page.height)
    margin, gutter = page.margin * unit, page.gutter * unit
    width, height = page.width - 2 * margin, page.height - 2 * margin
    candidates = (_Rows(rows, width, height, gutter) for rows in _row_breaks(page.panels))
    best = min(candidates, key=lambda rows: rows.cost)
    boxes = []
    for x, y, w, h in best.places:
        left = margin + (width - x - w if reading == "rtl" else x)
        top = margin + y
        boxes.append((left / page.width, top / page.height, (left + w) / page.width, min((top + h) / page.height, 1.0)))
    return boxes


class _Rows:
    """Panels broken into rows on a ``width`` x ``height`` page, as if read from left to right."""

    def __init__(self, rows: Sequence[Sequence[StoryPanel]], width: float, height: float, gutter: float) -> None:
        growths = [sum(panel.weight for panel in row) ** _ROW_GROWTH for row in rows]
        free = height - ROW_GUTTER * gutter * (len(rows) - 1)
        self.places: list[Box] = []
        """(x, y, width, height) of each panel."""
        self.cost = 0.0
        y = 0.0
        for number, (row, growth) in enumerate(zip(rows, growths, strict=True)):
            h = free * growth / sum(growths)
            x = 0.0
            shares = _shares(row, number)
            for panel, share in zip(row, shares, strict=True):
                w = (width - gutter * (len(row) - 1)) * share / sum(shares)
                self.places.append((x, y, w, h))
                self.cost += panel.weight * math.log(w / h / (panel.aspect or ASPECT)) ** 2
                x += w + gutter
            y += h + ROW_GUTTER * gutter


def _shares(row: Sequence[StoryPanel], number: int) -> list[float]:
    """Relative widths: of two panels of equal height, the one of larger wished aspect is wider."""
    shares = [panel.weight * math.sqrt((panel.aspect or ASPECT) / ASPECT) for panel in row]
    if len(row) > 1:
        shares[0 if number % 2 == 0 else -1] *= _LEAD
    return shares


def _row_breaks(panels: Sequence[StoryPanel]) -> Iterator[list[Sequence[StoryPanel]]]:
    """All ways to break ``panels`` into consecutive rows; short rows first, so that ties open with a wide panel."""
    if not panels:
        yield []
    for count in range(1, min(MAX_PANELS_PER_ROW, len(panels)) + 1):
        for rest in _row_breaks(panels[count:]):
            yield [panels[:count], *rest]
