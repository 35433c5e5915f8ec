"""Text into speech bubbles: the largest size at which it fits, broken into lines, centred."""

from PIL import Image, ImageDraw, ImageFont

LARGEST_PX = 48
SMALLEST_PX = 6
FILL = 0.8
"""Share of a bubble's width and height that text may take; bubbles are round."""
LINE_SPACING = 1.15


def letter(page: Image.Image, box: tuple[int, int, int, int], text: str) -> None:
    """Write ``text`` into the pixel ``box`` (x1, y1, x2, y2) of the grey ``page``, in place.

    Black with a white rim, so that it stays readable where the bubble was not drawn clean. Text that does not fit at
    the smallest size is written at that size all the same.
    """
    x1, y1, x2, y2 = box
    draw = ImageDraw.Draw(page)
    size, lines = _fitted(text, (x2 - x1) * FILL, (y2 - y1) * FILL)
    font = ImageFont.load_default(size)
    step = size * LINE_SPACING
    top = (y1 + y2) / 2 - step * (len(lines) - 1) / 2
    for number, line in enumerate(lines):
        position = ((x1 + x2) / 2, top + number * step)
        draw.text(position, line, fill=0, font=font, anchor="mm", stroke_width=max(size // 8, 1), stroke_fill=255)


def _fitted(text: str, width: float, height: float) -> tuple[int, list[str]]:
    """Font size in pixels, and lines."""
    for size in range(LARGEST_PX, SMALLEST_PX, -1):
        font = ImageFont.load_default(size)
        lines = _broken(text, font, width)
        if len(lines) * size * LINE_SPACING <= height and all(font.getlength(line) <= width for line in lines):
            return size, lines
    return SMALLEST_PX, _broken(text, ImageFont.load_default(SMALLEST_PX), width)


def _broken(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> list[str]:
    """Lines no wider than ``width``, unless a single word is."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
