"""Contact sheets: double pages with their panel, character and dialog boxes in colour, to look the data over."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from diffsensei.config.schema import SyntheticSource
from diffsensei.data.annotation_file import iterate_annotations
from diffsensei.data.records import Bbox, PageAnnotation, parse_page
from diffsensei.data.synthetic.page import draw_page

Picture = NDArray[np.uint8]

COLOURS = {"panel": (220, 120, 20), "character": (40, 40, 225), "dialog": (50, 150, 20)}
"""BGR."""

_COLUMNS = 2
_MARGIN = 18
_TITLE_HEIGHT = 24
_LEGEND_HEIGHT = 36
_MIN_PAGE_HEIGHT = 540
_PAPER = 236
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True, eq=False)
class SheetPage:
    """A page to show: its image (h, w) uint8 and what is annotated on it."""

    image: Picture
    annotation: PageAnnotation


def preview_world(source: SyntheticSource, output: Path, num_pages: int) -> None:
    """Draw the sheet of ``num_pages`` pages of a synthetic world, one series after the other, as the PNG ``output``.

    Raises ValueError (one line) if the world has fewer pages or ``num_pages`` is not positive.
    """
    write_contact_sheet(source, output, num_pages)


def write_contact_sheet(source_or_folder: SyntheticSource | Path, path: Path, num_pages: int) -> None:
    """Write a PNG sheet of double pages with their boxes and a legend to ``path``.

    Pages are drawn afresh from a synthetic source, or read from the output folder of the annotations stage of a
    synthetic world (as they are served: pages that lack a half or do not parse are passed over). Raises ValueError
    (one line) if there are fewer than ``num_pages`` pages or ``num_pages`` is not positive.
    """
    if num_pages < 1:
        raise ValueError(f"num_pages is {num_pages}; expected at least 1")
    if isinstance(source_or_folder, SyntheticSource):
        pages = list(islice(_pages_of_source(source_or_folder), num_pages))
    else:
        pages = list(islice(_pages_of_folder(source_or_folder), num_pages))
    if len(pages) < num_pages:
        raise ValueError(f"only {len(pages)} of {num_pages} pages can be shown; ask for at most {len(pages)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), _compose([_annotated(page) for page in pages])):
        raise ValueError(f"cannot write {path}; expected the path of a .png file in a writable folder")


def _pages_of_source(source: SyntheticSource) -> Iterator[SheetPage]:
    for page in range(source.pages_per_series):
        for series in range(source.num_series):
            drawn = draw_page(source, series, page)
            yield SheetPage(drawn.image, drawn.annotation)


def _pages_of_folder(folder: Path) -> Iterator[SheetPage]:
    for raw in iterate_annotations(folder / "annotations.json"):
        try:
            annotation = parse_page(raw)
        except ValueError:
            continue
        halves = [_read_half(folder / "served", url) for url, _ in annotation.meta.images]
        present = [half for half in halves if half is not None]
        if len(present) == len(halves) and present[0].shape[0] == present[1].shape[0]:
            yield SheetPage(np.concatenate(present, axis=1), annotation)


def _read_half(served: Path, url: str) -> Picture | None:
    path = served / url.partition("://")[2].partition("/")[2]
    data = path.read_bytes() if path.is_file() else b""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) if data else None
    return None if image is None else np.asarray(image, dtype=np.uint8)


def _annotated(page: SheetPage) -> Picture:
    """The page in colour with its boxes, enlarged by a whole factor if small, and its path above it."""
    factor = max(1, round(_MIN_PAGE_HEIGHT / page.image.shape[0]))
    enlarged = cv2.resize(page.image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    picture = cv2.cvtColor(enlarged, cv2.COLOR_GRAY2BGR)
    for number, frame in enumerate(page.annotation.frames, start=1):
        _outline(picture, frame.bbox, factor, "panel", str(number))
        for character in frame.characters:
            _outline(picture, character.bbox, factor, "character", f"id {character.id} type {character.type}")
        for dialog in frame.dialogs:
            _outline(picture, dialog.bbox, factor, "dialog", "")
    title = np.full((_TITLE_HEIGHT, picture.shape[1], 3), _PAPER, np.uint8)
    cv2.putText(title, page.annotation.image_path, (2, _TITLE_HEIGHT - 8), _FONT, 0.5, (40, 40, 40), 1, cv2.LINE_AA)
    return np.concatenate([title, picture.astype(np.uint8)])


def _outline(picture: NDArray[Any], bbox: Bbox, factor: int, kind: str, label: str) -> None:
    """Draw a box (right and bottom exclusive); one that is not finite cannot be shown."""
    if not np.isfinite(bbox).all():
        return
    x1, y1, x2, y2 = (round(v * factor) for v in bbox)
    cv2.rectangle(picture, (x1, y1), (x2 - 1, y2 - 1), COLOURS[kind], 2)
    if label:
        (width, height), _ = cv2.getTextSize(label, _FONT, 0.36, 1)
        cv2.rectangle(picture, (x1, y1), (x1 + width + 4, y1 + height + 5), COLOURS[kind], cv2.FILLED)
        cv2.putText(picture, label, (x1 + 2, y1 + height + 2), _FONT, 0.36, (255, 255, 255), 1, cv2.LINE_AA)


def _compose(pictures: list[Picture]) -> Picture:
    columns = min(_COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    height = max(picture.shape[0] for picture in pictures) + _MARGIN
    width = max(picture.shape[1] for picture in pictures) + _MARGIN
    shape = (rows * height + _MARGIN + _LEGEND_HEIGHT, columns * width + _MARGIN, 3)
    sheet = np.full(shape, _PAPER, np.uint8)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        top, left = row * height + _MARGIN, column * width + _MARGIN
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    x, y = _MARGIN, sheet.shape[0] - _LEGEND_HEIGHT // 2
    for kind, colour in COLOURS.items():
        cv2.rectangle(sheet, (x, y - 8), (x + 22, y + 8), colour, cv2.FILLED)
        cv2.putText(sheet, kind, (x + 30, y + 5), _FONT, 0.55, (40, 40, 40), 1, cv2.LINE_AA)
        x += 150
    return sheet
