"""One page of panels, composed the same way for every method, and written so that its bytes tell nothing.

Panels keep their shape: each row is as wide as the page and as high as that makes it, so nobody's faces are stretched.
"""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from diffsensei.inference.page import compose_page
from diffsensei.inference.story import StoryPage, StoryPanel

MAX_PER_ROW = 4
ROW_HEIGHT = 0.36
"""Wished height of a row over the page's width: about four rows on a page of manga."""
MARGIN, GUTTER, ROW_GUTTER = 0.03, 0.016, 0.024
"""Over the page's width."""
TOUCHED_PIXELS = 64
MAX_SIDE = 8192
RUIN_CELLS = 6


def page_frame(sizes: Sequence[tuple[int, int]], width: int) -> StoryPage:
    """The frame of a page ``width`` pixels wide for panels of (height, width) ``sizes``, read from right to left.

    Raises ValueError where the panels would make it higher than any page can be.
    """
    aspects = [w / h for h, w in sizes]
    inner = width * (1 - 2 * MARGIN)
    rows = _rows(aspects, inner, width)
    heights = [_row_height([aspects[i] for i in row], inner, width) for row in rows]
    total = 2 * MARGIN * width + sum(heights) + ROW_GUTTER * width * (len(rows) - 1)
    height = max(round(total), 64)
    if height > MAX_SIDE:
        raise ValueError(
            f"expected panels that fit a page of {width} x {MAX_SIDE} pixels, these {len(sizes)} need {height}; lower "
            "study.page_width"
        )
    panels: list[StoryPanel] = []
    y = MARGIN * width
    for row, row_height in zip(rows, heights, strict=True):
        right = width * (1 - MARGIN)
        for index in row:
            left = right - aspects[index] * row_height
            box = (max(left / width, 0.0), y / height, right / width, min((y + row_height) / height, 1.0))
            panels.append(StoryPanel(box=box, caption=""))
            right = left - GUTTER * width
        y += row_height + ROW_GUTTER * width
    return StoryPage(width=width, height=height, panels=tuple(panels))


def compose(frame: StoryPage, images: Sequence[Image.Image]) -> Image.Image:
    """``images`` (one per panel, in reading order) in ``frame``, grey; unlettered, as no method was given text."""
    sheet, _ = compose_page(frame, [image.convert("L") for image in images])
    return sheet


def ruined(images: Sequence[Image.Image], rng: np.random.Generator) -> list[Image.Image]:
    """The same panels as noise and a few grey cells: obviously the worse page, for attention checks."""
    ruins = []
    for image in images:
        cells = np.asarray(image.convert("L").resize((RUIN_CELLS, RUIN_CELLS), Image.Resampling.BOX), dtype=np.float64)
        noisy = np.clip(cells + rng.normal(0, 50, cells.shape), 0, 255).astype(np.uint8)
        ruins.append(Image.fromarray(noisy).resize(image.size, Image.Resampling.NEAREST))
    return ruins


def anonymous_png(image: Image.Image, rng: np.random.Generator) -> bytes:
    """PNG without metadata, in which a few pixels are one shade off.

    Nobody sees that; but the same page shown twice is never twice the same file, so that files cannot be matched.
    """
    pixels = np.array(image.convert("L"))
    flat = pixels.reshape(-1)
    places = rng.choice(flat.size, min(TOUCHED_PIXELS, flat.size), replace=False)
    flat[places] ^= 1
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, format="PNG", compress_level=6)
    return data.getvalue()


def _row_height(aspects: Sequence[float], inner: float, width: int) -> float:
    return (inner - GUTTER * width * (len(aspects) - 1)) / sum(aspects)


def _rows(aspects: Sequence[float], inner: float, width: int) -> list[list[int]]:
    """Indices broken into rows whose heights are, in ratio, nearest to the wished one."""
    best: list[tuple[float, list[list[int]]]] = [(0.0, [])]
    for end in range(1, len(aspects) + 1):
        candidates = []
        for start in range(max(end - MAX_PER_ROW, 0), end):
            height = _row_height(aspects[start:end], inner, width)
            cost = float(np.log(height / (ROW_HEIGHT * width)) ** 2)
            candidates.append((best[start][0] + cost, [*best[start][1], list(range(start, end))]))
        best.append(min(candidates))
    return best[-1][1]
