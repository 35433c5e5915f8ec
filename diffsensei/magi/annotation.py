"""Pages to MangaZero's frames (paper sec. 3): the first layer of annotation, before captions and human corrections."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffsensei.data.records import Bbox, CharacterAnnotation, DialogAnnotation, FrameAnnotation
from diffsensei.geometry import Boxes
from diffsensei.magi.magi import BATCH_SIZE, Image8, Magi
from diffsensei.magi.page import MagiPage
from diffsensei.magi.panel_membership import containing_panels
from diffsensei.magi.reading_order import Reading
from diffsensei.magi.suppression import Thresholds


@dataclass(frozen=True)
class AnnotatedPage:
    frames: tuple[FrameAnnotation, ...]
    """In reading order; boxes in pixels of the page, captions empty, all characters of type 0."""
    outside: int
    """Characters and dialogs that touch no panel, and are in no frame."""


def annotate_pages(
    magi: Magi,
    images: Sequence[Image8],
    *,
    thresholds: Thresholds | None = None,
    reading: Reading | None = None,
    folds: Sequence[float | None] | None = None,
    batch_size: int = BATCH_SIZE,
) -> list[AnnotatedPage]:
    """The frames of each page; arguments and errors as `Magi.read_pages`."""
    pages = magi.read_pages(images, thresholds=thresholds, reading=reading, folds=folds, batch_size=batch_size)
    sizes = [(image.shape[0], image.shape[1]) for image in images]
    return [annotate_page(page, *size) for page, size in zip(pages, sizes, strict=True)]


def annotate_page(page: MagiPage, height: int, width: int) -> AnnotatedPage:
    """The frames of one page of ``height`` and ``width`` pixels.

    Characters and texts go to the panel that contains most of them; a page without panels is one frame. Texts count as
    dialogs whether or not somebody says them, because MangaZero's boxes do. Character ids are Magi's clusters.
    """
    panels = page.panels if len(page.panels) else np.array([[0, 0, width, height]], dtype=np.float64)
    of_characters, of_texts = containing_panels(page.characters, panels), containing_panels(page.texts, panels)
    frames = tuple(
        FrameAnnotation(
            bbox=_bbox(panel),
            caption="",
            characters=tuple(
                CharacterAnnotation(id=int(page.character_clusters[i]), bbox=_bbox(page.characters[i]))
                for i in np.flatnonzero(of_characters == number)
            ),
            dialogs=tuple(DialogAnnotation(bbox=_bbox(page.texts[i])) for i in np.flatnonzero(of_texts == number)),
        )
        for number, panel in enumerate(panels)
    )
    return AnnotatedPage(frames, outside=int((of_characters < 0).sum() + (of_texts < 0).sum()))


def _bbox(box: Boxes) -> Bbox:
    x1, y1, x2, y2 = (float(side) for side in box)
    return x1, y1, x2, y2
