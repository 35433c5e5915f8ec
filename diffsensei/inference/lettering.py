"""Text into speech bubbles: the largest size at which it fits the bubble's ellipse, broken into lines, centred."""

import math
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from diffsensei.inference.fonts import font_for, load_font
from diffsensei.inference.line_breaking import break_lines, hyphenated, pieces_of

PAGE_HEIGHTS = 52
"""Letters are at most one page height over this: one size for a page unless a bubble is too small for it."""
READABLE_PX = 10
"""Words are split only where they would have to be smaller than this."""
SMALLEST_PX = 6
FILL = 0.88
"""Share of a bubble's axes inside which text lies."""
COMFORTABLE = 0.75
"""Share of that width above which text takes another line, if that makes it narrower."""
LINE_SPACING = 1.15
PAPER, INK = 255, 0

PixelBox = tuple[int, int, int, int]


@dataclass(frozen=True)
class Lettering:
    """How dialogs are put on a page."""

    written: bool = True
    """Write their text."""
    bubbles: bool = False
    """Draw a white bubble with an outline first, over what the model drew there."""
    font: Path | None = None
    """Instead of the bundled font."""


def letter(page: Image.Image, box: PixelBox, text: str, lettering: Lettering) -> str | None:
    """Write ``text`` into the pixel ``box`` (x1, y1, x2, y2) of ``page`` (mode L or 1), in place.

    Black; without ``lettering.bubbles`` with a white rim, so that it stays readable where the bubble was not drawn
    clean. Returns what is wrong with the result, if anything: text that does not fit at the smallest size is written
    at that size all the same, and letters no font has are boxes.
    """
    draw = ImageDraw.Draw(page)
    if lettering.bubbles:
        _draw_bubble(draw, box, max(page.height // 600, 1) + 1)
    text = " ".join(text.split())
    if not text or not lettering.written:
        return None
    path, lacking = font_for(text, lettering.font)
    size, lines, fits = _fitted(text, box, path, max(page.height // PAGE_HEIGHTS, SMALLEST_PX))
    font = load_font(path, size)
    step = size * LINE_SPACING
    middle, first = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2 - step * (len(lines) - 1) / 2
    rim = 0 if lettering.bubbles else max(size // 8, 1)
    for number, line in enumerate(lines):
        place = (middle, first + number * step)
        draw.text(place, line, fill=INK, font=font, anchor="mm", stroke_width=rim, stroke_fill=PAPER)
    if lacking:
        return f"no font here has the letters {lacking[:20]}; give one that has with --font"
    return None if fits else f"the text {text[:40]!r} is too long for its box; enlarge the box"


def _draw_bubble(draw: ImageDraw.ImageDraw, box: PixelBox, line: int) -> None:
    x1, y1, x2, y2 = box
    draw.ellipse((x1, y1, max(x2 - 1, x1), max(y2 - 1, y1)), fill=PAPER, outline=INK, width=line)


def _fitted(text: str, box: PixelBox, path: Path, largest: int) -> tuple[int, list[str], bool]:
    """Font size in pixels, lines, and whether they lie inside the ellipse."""
    for size in range(largest, SMALLEST_PX - 1, -1):
        lines = _lines(text, box, path, size, may_split=size < min(READABLE_PX, largest))
        if lines is not None:
            return size, lines, True
    font = load_font(path, SMALLEST_PX)
    pieces = hyphenated(pieces_of(text), FILL * (box[2] - box[0]), font.getlength)
    lines = []
    for piece in pieces:
        if lines and font.getlength(lines[-1] + piece.text) <= FILL * (box[2] - box[0]):
            lines[-1] += piece.text + piece.after
        else:
            lines.append(piece.text + piece.after)
    return SMALLEST_PX, [line.strip() for line in lines], False


def _lines(text: str, box: PixelBox, path: Path, size: int, *, may_split: bool) -> list[str] | None:
    """The fewest lines on which ``text`` fits at ``size`` and stays off the bubble's sides; or fits at all; or None."""
    font = load_font(path, size)
    half_width, half_height = FILL * (box[2] - box[0]) / 2, FILL * (box[3] - box[1]) / 2
    pieces = pieces_of(text)
    fewest: list[str] | None = None
    for count in range(1, int(2 * half_height / (size * LINE_SPACING)) + 1):
        widths = _line_widths(count, size, half_width, half_height)
        parts = hyphenated(pieces, max(widths), font.getlength) if widths and may_split else pieces
        if not widths or len(parts) < count:
            break
        lines = break_lines(parts, widths, font.getlength)
        if lines is None:
            continue
        if max(map(font.getlength, lines)) <= COMFORTABLE * 2 * half_width:
            return lines
        fewest = fewest or lines
    return fewest


def _line_widths(count: int, size: int, half_width: float, half_height: float) -> list[float] | None:
    """Room for each of ``count`` centred lines in the ellipse with these half axes; None if one has none."""
    step = size * LINE_SPACING
    widths = []
    for number in range(count):
        # A line's letters reach half a size above and below its middle; the farther edge decides.
        reach = (abs(number - (count - 1) / 2) * step + size / 2) / half_height
        if reach >= 1:
            return None
        widths.append(2 * half_width * math.sqrt(1 - reach**2))
    return widths
