"""A place for everything a story gives no box for: panels on their page, characters and dialogs in their panel."""

from dataclasses import dataclass

from diffsensei.inference.layout import Box, lay_out
from diffsensei.inference.story import Reading, StoryPage, StoryPanel

DIALOGS_PER_ROW = 3
"""At most; narrow panels take fewer beside each other."""
_EDGE = 0.04
"""Room between a panel's frame and what stands in it, over the panel's side."""
_DIALOG_HEIGHTS = (0.3, 0.45)
"""Height of a row of dialogs over the panel's; higher in wide panels, which are low."""
_DIALOG_ROWS = 0.6
"""Share of a panel's height that several rows of dialogs may take."""
_WIDEST_DIALOG = 0.5
_LEAST_WIDTH = 0.3
"""Of a bubble, over its panel's height."""
_DIALOG_ASPECT = 2.0
"""Widest a bubble gets over its height, in pixels."""
_HEADS = (0.12, 0.42)
"""How far from the panel's upper edge figures begin: without bubbles, and at most."""
_FIGURE_ASPECT = 0.9
"""Widest a figure's box gets over its height, in pixels: head, shoulders and an arm."""


@dataclass(frozen=True)
class PlacedPanel:
    """A panel with every box decided. ``box`` is relative to the page, the others to the panel, xyxy."""

    panel: StoryPanel
    box: Box
    characters: tuple[Box, ...]
    dialogs: tuple[Box, ...]


def place_page(page: StoryPage, reading: Reading) -> list[PlacedPanel]:
    """The panels of ``page`` in reading order.

    Panels without boxes are laid out (`layout.lay_out`). In a panel, characters without a box stand side by side at
    the bottom and dialogs without one hang at the top, up to `DIALOGS_PER_ROW` in a row; the first is on the right if
    ``reading`` is ``rtl``. Boxes the story gives stay as they are, and the automatic ones do not avoid them.
    """
    boxes = [panel.box for panel in page.panels if panel.box is not None] or lay_out(page, reading)
    placed = []
    for panel, box in zip(page.panels, boxes, strict=True):
        aspect = (box[2] - box[0]) * page.width / ((box[3] - box[1]) * page.height)
        dialogs = [dialog.box for dialog in panel.dialogs]
        characters = [character.box for character in panel.characters]
        hanging = _hanging(dialogs.count(None), aspect)
        bubbles = [*hanging, *(dialog for dialog in dialogs if dialog is not None)]
        standing = _standing(characters.count(None), aspect, bubbles)
        placed.append(
            PlacedPanel(panel, box, _filled(characters, standing, reading), _filled(dialogs, hanging, reading))
        )
    return placed


def _filled(given: list[Box | None], automatic: list[Box], reading: Reading) -> tuple[Box, ...]:
    """``given``, its gaps filled from ``automatic`` (boxes as if read from left to right)."""
    remaining = iter(_mirrored(box) if reading == "rtl" else box for box in automatic)
    return tuple(next(remaining) if box is None else box for box in given)


def _mirrored(box: Box) -> Box:
    return 1 - box[2], box[1], 1 - box[0], box[3]


def _standing(count: int, aspect: float, bubbles: list[Box]) -> list[Box]:
    """``count`` figures from the panel's lower edge up to the ``bubbles``, unless that leaves too little of them."""
    highest, lowest = _HEADS
    top = min(max([highest, *(bubble[3] for bubble in bubbles)]), lowest)
    slot = 1 / max(count, 1)
    width = min(slot - _EDGE, _FIGURE_ASPECT * (1 - top) / aspect)
    middles = [(number + 0.5) * slot for number in range(count)]
    return [(middle - width / 2, top, middle + width / 2, 1.0) for middle in middles]


def _hanging(count: int, aspect: float) -> list[Box]:
    """``count`` bubbles from the top, row by row; one alone in the first corner, several spread evenly."""
    if count == 0:
        return []
    per_row = max(min(count, DIALOGS_PER_ROW, int(aspect / _LEAST_WIDTH)), 1)
    num_rows = -(-count // per_row)
    lowest, highest = _DIALOG_HEIGHTS
    row_height = min(max(lowest, min(aspect / 5, highest)), _DIALOG_ROWS / num_rows)
    height = row_height - _EDGE / 2
    slot = (1 - _EDGE) / per_row
    width = min(slot - _EDGE, _WIDEST_DIALOG, _DIALOG_ASPECT * height / aspect)
    slack = 0.0 if per_row == 1 else (slot - _EDGE - width) / 2
    boxes = []
    for number in range(count):
        row, column = divmod(number, per_row)
        x, y = _EDGE + column * slot + slack, _EDGE + row * row_height
        boxes.append((x, y, x + width, y + height))
    return boxes
