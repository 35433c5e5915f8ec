"""The true states of the benchmark's characters, where it was cut from a drawn world.

Requests do not carry them: a generator sees what captions say. So they are looked up in the world's own ``world.json``,
by page, place of the panel on it, and box: rows that validation dropped shift the places of characters, never boxes.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffsensei.data.page_paths import page_id_of
from diffsensei.evaluation.benchmark import BenchmarkPanel
from diffsensei.foundations.labels import READ_STATES
from diffsensei.geometry import cover_crop, pairwise_iou, to_relative

MIN_IOU = 0.8
"""Least overlap of a requested box with the drawn character's: the same box but for rounding and clipping."""

State = Mapping[str, str]
"""Attribute to value, as in `READ_STATES`."""


def drawn_states(annotations: Path, panels: Sequence[BenchmarkPanel]) -> list[list[State | None]] | None:
    """Per panel and requested character its state, None where the world has no such character.

    ``annotations`` is the folder that the data set's annotations came in; None instead of a list where it is no drawn
    world.
    """
    path = annotations / "world.json"
    if not path.is_file():
        return None
    pages = {page_id_of(page["image_path"]): page["panels"] for page in json.loads(path.read_text())["pages"]}
    return [_states_in(panel, pages.get(panel.page_id, [])) for panel in panels]


def copy_states(annotations: Path, page_ids: Collection[str], output: Path) -> None:
    """Write what `drawn_states` reads of these pages to the new folder ``output``; nothing where no world was drawn."""
    output.mkdir()
    path = annotations / "world.json"
    if path.is_file():
        pages = [page for page in json.loads(path.read_text())["pages"] if page_id_of(page["image_path"]) in page_ids]
        (output / path.name).write_text(json.dumps({"pages": pages}))


def _states_in(panel: BenchmarkPanel, drawn: Sequence[dict[str, Any]]) -> list[State | None]:
    if panel.panel_index >= len(drawn) or not panel.characters:
        return [None] * len(panel.characters)
    frame = np.rint(drawn[panel.panel_index]["box"])
    characters = drawn[panel.panel_index]["characters"]
    boxes = to_relative(np.array([c["box"] for c in characters]).reshape(-1, 4), frame)
    height, width = int(frame[3] - frame[1]), int(frame[2] - frame[0])
    boxes = np.clip(cover_crop(boxes, height, width, panel.height, panel.width), 0.0, 1.0)
    overlaps = pairwise_iou(np.array([c.box for c in panel.characters]), boxes)
    found: list[State | None] = []
    for row in overlaps:
        best = int(row.argmax()) if len(row) else 0
        same = len(row) > 0 and row[best] >= MIN_IOU
        found.append({name: str(characters[best]["state"][name]) for name in READ_STATES} if same else None)
    return found
