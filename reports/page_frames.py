"""Where the panels of a held-out page stand on it, so that a page can be composed as manga of any method's panels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from diffsensei.evaluation.page_sheets import WHITE, lay_out
from reports.requested_panels import Box, RequestedPanel


@dataclass(frozen=True)
class PageFrame:
    """A page in pixels, and the boxes of its panels relative to it."""

    page_id: str
    series: str
    width: int
    height: int
    boxes: dict[str, Box]
    annotated: bool
    """The boxes are those of the page; otherwise panels stand on shelves, as where the annotation is not at hand."""
    picture: Path | None
    """The page itself."""


def page_frames(panels: Sequence[RequestedPanel], validated: Iterable[Path]) -> list[PageFrame]:
    """A frame for each page of ``panels``, in order of appearance.

    ``validated``: folders that may hold what the validate stage writes (``pages.parquet``, ``panels.parquet``).
    """
    known = _annotated_boxes({panel.page_id for panel in panels}, validated)
    by_page: dict[str, list[RequestedPanel]] = {}
    for panel in panels:
        by_page.setdefault(panel.page_id, []).append(panel)
    frames = []
    for page_id, asked in by_page.items():
        frame = known.get(page_id)
        if frame is None or not {panel.panel_id for panel in asked} <= frame.boxes.keys():
            frame = _on_shelves(page_id, asked)
        boxes = {panel.panel_id: frame.boxes[panel.panel_id] for panel in asked}
        frames.append(
            PageFrame(page_id, asked[0].series, frame.width, frame.height, boxes, frame.annotated, frame.picture)
        )
    return frames


def _annotated_boxes(wanted: set[str], validated: Iterable[Path]) -> dict[str, PageFrame]:
    found = {}
    for folder in validated:
        if not ((folder / "pages.parquet").is_file() and (folder / "panels.parquet").is_file()):
            continue
        pages = pd.read_parquet(folder / "pages.parquet", columns=["page_id", "series", "width", "height"])
        panels = pd.read_parquet(folder / "panels.parquet", columns=["page_id", "panel_id", "x1", "y1", "x2", "y2"])
        of_page = {str(page): rows for page, rows in panels[panels["page_id"].isin(wanted)].groupby("page_id")}
        for page in pages[pages["page_id"].isin(of_page)].itertuples():
            scale = np.array([page.width, page.height] * 2)
            rows = of_page[page.page_id]
            relative = np.clip(rows[["x1", "y1", "x2", "y2"]].to_numpy() / scale, 0.0, 1.0)
            boxes = {str(panel): _box(box) for panel, box in zip(rows["panel_id"], relative, strict=True)}
            picture = folder / "pages" / f"{page.page_id}.png"
            found[str(page.page_id)] = PageFrame(
                str(page.page_id),
                str(page.series),
                int(page.width),
                int(page.height),
                boxes,
                True,
                picture if picture.is_file() else None,
            )
    return found


def _on_shelves(page_id: str, panels: Sequence[RequestedPanel]) -> PageFrame:
    """Panels in reading order on white shelves; mirrored, as manga is read from right to left."""
    sheet = lay_out([np.broadcast_to(np.uint8(WHITE), (panel.height, panel.width)) for panel in panels])
    height, width = sheet.image.shape
    boxes = {}
    for panel, (x1, y1, x2, y2) in zip(panels, sheet.frames / [width, height, width, height], strict=True):
        boxes[panel.panel_id] = _box((1 - x2, y1, 1 - x1, y2))
    return PageFrame(page_id, panels[0].series, width, height, boxes, False, None)


def _box(values: Iterable[float]) -> Box:
    x1, y1, x2, y2 = (float(value) for value in values)
    return x1, y1, x2, y2
