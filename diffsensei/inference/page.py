"""A page from its panels: each scaled into its place, framed, and lettered."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

from diffsensei.inference.layout import Box
from diffsensei.inference.lettering import INK, PAPER, Lettering, PixelBox, letter
from diffsensei.inference.placement import PlacedPanel, place_page
from diffsensei.inference.story import Reading, StoryPage

LEAST_FRAME_PX = 2
FRAMES_PER_HEIGHT = 450
"""Page height over the width of a panel's frame."""
LEAST_PANEL_PX = 16
SIZE_MULTIPLE = 8
"""Panels are drawn at multiples of this many pixels: SDXL's autoencoder factor, and a multiple of smaller ones'."""


def compose_page(
    page: StoryPage,
    images: Sequence[Image.Image],
    *,
    reading: Reading = "rtl",
    black_and_white: bool = False,
    lettering: Lettering | None = None,
) -> tuple[Image.Image, list[str]]:
    """``images`` (grey, one per panel, in reading order) on one sheet, and what is wrong with its letters.

    The sheet is of mode L, or 1 for ``black_and_white``: then panels are dithered, while frames and letters, drawn
    after that, stay sharp. Each complaint names its panel.
    """
    lettering = lettering or Lettering()
    sheet = Image.new("L", (page.width, page.height), PAPER)
    placed = [(panel, panel_pixels(page, panel)) for panel in place_page(page, reading)]
    for (_, (x1, y1, x2, y2)), image in zip(placed, images, strict=True):
        sheet.paste(image.resize((x2 - x1, y2 - y1), Image.Resampling.LANCZOS), (x1, y1))
    if black_and_white:
        sheet = sheet.convert("1")
    draw = ImageDraw.Draw(sheet)
    frame = max(round(page.height / FRAMES_PER_HEIGHT), LEAST_FRAME_PX)
    complaints = []
    for number, (panel, place) in enumerate(placed, start=1):
        x1, y1, x2, y2 = place
        draw.rectangle((x1, y1, x2 - 1, y2 - 1), outline=INK, width=frame)
        for dialog, box in zip(panel.panel.dialogs, panel.dialogs, strict=True):
            complaint = letter(sheet, _pixels(box, place), dialog.text, lettering)
            complaints += [f"panel {number}: {complaint}"] if complaint else []
    return sheet, complaints


def panel_pixels(page: StoryPage, panel: PlacedPanel) -> PixelBox:
    """Where ``panel`` lies on ``page``. Raises ValueError if that is too small to show anything."""
    x1, y1, x2, y2 = _pixels(panel.box, (0, 0, page.width, page.height))
    if min(x2 - x1, y2 - y1) < LEAST_PANEL_PX:
        raise ValueError(
            f"expected panels of at least {LEAST_PANEL_PX} x {LEAST_PANEL_PX} pixels, the box of "
            f"{panel.panel.caption[:40]!r} gives {x2 - x1} x {y2 - y1}; enlarge the box or the page"
        )
    return x1, y1, x2, y2


def drawing_size(height: float, width: float, panel_side: int) -> tuple[int, int]:
    """(height, width) in multiples of `SIZE_MULTIPLE`, of the same aspect as given and about panel_side^2 in area."""
    scale = panel_side / math.sqrt(height * width)
    rounded = [max(round(side * scale / SIZE_MULTIPLE), 1) * SIZE_MULTIPLE for side in (height, width)]
    return rounded[0], rounded[1]


def _pixels(box: Box, frame: PixelBox) -> PixelBox:
    """``box`` relative to ``frame`` in pixels, at least one pixel each way."""
    width, height = frame[2] - frame[0], frame[3] - frame[1]
    x1, y1 = frame[0] + round(box[0] * width), frame[1] + round(box[1] * height)
    x2, y2 = frame[0] + round(box[2] * width), frame[1] + round(box[3] * height)
    return x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)
