"""Double pages: panels laid out from right to left, a few members of the cast recurring on each page."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from diffsensei.config.schema import SyntheticSource
from diffsensei.data.records import CharacterAnnotation, DialogAnnotation, FrameAnnotation, PageAnnotation, TwoHalves
from diffsensei.data.synthetic.backgrounds import PLACES, SETTINGS
from diffsensei.data.synthetic.bubbles import Box
from diffsensei.data.synthetic.cast import Series, draw_series
from diffsensei.data.synthetic.ink import WHITE, Image
from diffsensei.data.synthetic.panel import DrawnPanel, draw_panel, pick, write_script
from diffsensei.seeding import numpy_stream

PAGE_HEIGHT_UNITS = 360.0
"""Style units per page height."""
PAGES_PER_CHAPTER = 8
SYNTHETIC_HOST = "pages.synthetic.invalid"

_STAY_RATE = 0.6
"""Share of panels that stay in the setting of their page."""
_ASPECTS = (0.45, 2.4)
_MIN_SIDE = 0.17
"""Shortest panel edge over the page height."""
_LAYOUT_ATTEMPTS = 400


@dataclass(frozen=True, eq=False)
class PlacedPanel:
    """A panel and where it lies on the page: (x1, y1, x2, y2) in page pixels, right and bottom exclusive."""

    box: tuple[int, int, int, int]
    drawn: DrawnPanel

    def on_page(self, box: Box) -> Box:
        """A box in panel pixels in page pixels."""
        x, y = self.box[:2]
        return box[0] + x, box[1] + y, box[2] + x, box[3] + y


@dataclass(frozen=True, eq=False)
class DrawnPage:
    """A double page (H, W) uint8, its annotation and, per panel, the true identities and states."""

    image: Image
    annotation: PageAnnotation
    panels: tuple[PlacedPanel, ...]
    series: Series

    @property
    def halves(self) -> tuple[Image, Image]:
        """Left and right half page."""
        middle = self.annotation.meta.images[0].width
        return self.image[:, :middle], self.image[:, middle:]


def draw_page(source: SyntheticSource, series: int, page: int) -> DrawnPage:
    """Double page ``page`` of series ``series``: the same whatever other pages are drawn.

    The urls in its annotation carry no digest of the bytes yet (``world.draw_world`` fills them in).
    """
    drawn_series = series_of(source.seed, series)
    unit = source.page_height / PAGE_HEIGHT_UNITS
    half = round(source.page_height * 2 / 3)
    image = np.full((source.page_height, 2 * half), WHITE, np.uint8)
    rng = numpy_stream(source.seed, "series", series, "page", page, "layout")
    # Right half first: manga reads from right to left.
    boxes = [
        (x1 + offset, y1, x2 + offset, y2)
        for offset in (half, 0)
        for x1, y1, x2, y2 in _lay_out(rng, source.page_height, half, drawn_series.style.gutter * unit)
    ]
    members = rng.permutation(len(drawn_series.cast))[: int(rng.integers(2, 5))]
    present = [drawn_series.cast[i] for i in members]
    setting = pick(rng, SETTINGS)
    panels = []
    for index, box in enumerate(boxes):
        stream = numpy_stream(source.seed, "series", series, "page", page, "panel", index)
        x1, y1, x2, y2 = box
        place = setting if stream.random() < _STAY_RATE else pick(stream, PLACES)
        script = write_script(stream, y2 - y1, x2 - x1, present, place)
        drawn = draw_panel(stream, drawn_series, y2 - y1, x2 - x1, script=script, unit=unit)
        image[y1:y2, x1:x2] = drawn.image
        panels.append(PlacedPanel(box, drawn))
    return DrawnPage(image, _annotate(source, drawn_series, page, half, panels), tuple(panels), drawn_series)


@lru_cache(maxsize=64)
def series_of(seed: int, index: int) -> Series:
    """`cast.draw_series`, remembered."""
    return draw_series(seed, index)


def chapter_hash(source: SyntheticSource, series: int, page: int) -> str:
    """The 32 hex digits under which the pages of a chapter are served."""
    return hashlib.sha256(f"{source.seed}/{series}/{page // PAGES_PER_CHAPTER}".encode()).hexdigest()[:32]


def image_path_of(source: SyntheticSource, series: int, page: int) -> str:
    """``<series>/<chapter>/<page>.png``."""
    chapter, number = divmod(page, PAGES_PER_CHAPTER)
    return f"{series_of(source.seed, series).name}/chapter-{chapter + 1:03d}/{number + 1:03d}.png"


def _lay_out(rng: np.random.Generator, height: int, width: int, gutter: float) -> list[tuple[int, int, int, int]]:
    """Three to six panels that tile a half page with gutters, in reading order."""
    margin = 1.3 * gutter
    area = (margin, margin, width - margin, height - margin)
    wanted = int(rng.integers(3, 7))
    for attempt in range(_LAYOUT_ATTEMPTS):
        boxes = _split(rng, area, wanted if attempt < _LAYOUT_ATTEMPTS // 2 else 3, gutter)
        if all(_well_shaped(box, height) for box in boxes):
            return [(round(x1), round(y1), round(x2), round(y2)) for x1, y1, x2, y2 in boxes]
    x1, y1, x2, y2 = area
    third = (y2 - y1 + gutter) / 3
    return [(round(x1), round(y1 + i * third), round(x2), round(y1 + (i + 1) * third - gutter)) for i in range(3)]


def _split(rng: np.random.Generator, area: Box, count: int, gutter: float) -> list[Box]:
    if count == 1:
        return [area]
    x1, y1, x2, y2 = area
    first = int(rng.integers(1, count))
    cut = first / count + rng.uniform(-0.09, 0.09)
    if rng.random() < (y2 - y1) / (y2 - y1 + 0.8 * (x2 - x1)):
        y = y1 + cut * (y2 - y1)
        parts = ((x1, y1, x2, y - gutter / 2), (x1, y + gutter / 2, x2, y2))
    else:
        x = x2 - cut * (x2 - x1)
        parts = ((x + gutter / 2, y1, x2, y2), (x1, y1, x - gutter / 2, y2))
    return _split(rng, parts[0], first, gutter) + _split(rng, parts[1], count - first, gutter)


def _well_shaped(box: Box, page_height: int) -> bool:
    width, height = box[2] - box[0], box[3] - box[1]
    if min(width, height) < _MIN_SIDE * page_height:
        return False
    return _ASPECTS[0] <= width / height <= _ASPECTS[1]


def _annotate(
    source: SyntheticSource, series: Series, page: int, half: int, panels: list[PlacedPanel]
) -> PageAnnotation:
    ids: dict[int, int] = {}
    frames = []
    for panel in panels:
        x1, y1, x2, y2 = panel.box
        characters = []
        for character in panel.drawn.characters:
            local = ids.setdefault(character.identity.key, len(ids))
            characters.append(CharacterAnnotation(id=local, bbox=panel.on_page(character.box), type=character.type))
        frames.append(
            FrameAnnotation(
                bbox=(x1, y1, x2, y2),
                caption=panel.drawn.caption,
                characters=tuple(characters),
                dialogs=tuple(DialogAnnotation(bbox=panel.on_page(box)) for box in panel.drawn.dialogs),
            )
        )
    number = page % PAGES_PER_CHAPTER + 1
    folder = f"https://{SYNTHETIC_HOST}/data/{chapter_hash(source, series.index, page)}"
    return PageAnnotation(
        image_path=image_path_of(source, series.index, page),
        frames=tuple(frames),
        meta=TwoHalves(
            url1=f"{folder}/{2 * number - 1}.png", url2=f"{folder}/{2 * number}.png", width1=half, width2=half
        ),
    )
