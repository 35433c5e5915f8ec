"""What an annotator left of a page in a drawing tool, compared with the machine's boxes: the edits they made.

Tools know text labels where we have ids; a page's labels are one to one with its ids.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from pydantic import ValidationError

from diffsensei.data.annotation.boxes import AnnotatedBox, Kind, box_id_of
from diffsensei.data.annotation.edits import (
    MAX_BOXES,
    MAX_SIDE,
    AddEdit,
    CharacterType,
    Edit,
    IdentityEdit,
    MoveEdit,
    RemoveEdit,
    Review,
    first_fault,
)
from diffsensei.data.annotation.layers import UNMOVED_PX, is_unmoved
from diffsensei.data.records import Bbox

_UNFIT = re.compile("[\\s\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]+")
"""Runs of it become one space, so that a label that was fitted once stays as it is."""
MAX_LABEL = 100
_TYPES: Mapping[str, CharacterType] = {"0": 0, "1": 1, "2": 2}


@dataclass(frozen=True)
class Region:
    """A rectangle of a tool: sides in pixels of the double page; ``box_id`` is empty for a new one."""

    box_id: str
    kind: Kind
    bbox: Bbox
    label: str = ""
    """Of characters, as ``type`` is."""
    type: CharacterType = 0


def labels_of(boxes: Iterable[AnnotatedBox]) -> dict[str, int | str]:
    """The ids of a page's characters by label: printable, without outer spaces, not empty, each of one id."""
    labels: dict[str, int | str] = {}
    for who in dict.fromkeys(box.character_id for box in boxes if box.kind == "character"):
        label = fitted = _UNFIT.sub(" ", str(who)).strip()[:MAX_LABEL].strip() or "unnamed"
        repeat = 2
        while label in labels:
            label = f"{fitted} ({repeat})"
            repeat += 1
        labels[label] = who
    return labels


def regions_of(boxes: Mapping[str, AnnotatedBox], width: int, height: int) -> list[Region]:
    """The boxes that a tool can show on a page of ``width`` x ``height`` pixels: those with an area inside it."""
    labels = {str(who): label for label, who in labels_of(boxes.values()).items()}
    return [
        Region(box.box_id, box.kind, box.bbox, labels[str(box.character_id)], _TYPES[str(box.type)])
        if box.kind == "character"
        else Region(box.box_id, box.kind, box.bbox)
        for box in boxes.values()
        if is_drawable(box.bbox, width, height) and str(box.type) in _TYPES
    ]


def is_drawable(bbox: Bbox, width: int, height: int) -> bool:
    """Whether a box has an area and lies within a page, up to rounding."""
    x1, y1, x2, y2 = bbox
    has_area = bool(np.isfinite(bbox).all()) and x1 < x2 and y1 < y2
    return has_area and min(x1, y1) >= -UNMOVED_PX and x2 <= width + UNMOVED_PX and y2 <= height + UNMOVED_PX


def edits_between(
    page_key: str,
    boxes: Mapping[str, AnnotatedBox],
    regions: Iterable[Region],
    *,
    size: tuple[int, int],
    annotator: str,
    ts: datetime,
    adjudicated: bool = False,
) -> list[Edit]:
    """The edits that lead from a page's machine ``boxes`` to ``regions``, after a `Review` of the page.

    ``size`` is (width, height) of the page as the tool had it: boxes it could not show are left alone. A region without
    a known name is the box of its kind that it covers to a pixel, if there is one, else new. Raises ValueError (one
    line) for more boxes than a page can have, and for an annotator or ids that no edit can hold.
    """
    regions = list(regions)
    if len(regions) > MAX_BOXES:
        raise ValueError(f"{len(regions)} boxes on page {page_key!r}; expected at most {MAX_BOXES}")
    try:
        return _edits_between(page_key, boxes, regions, size, annotator, ts, adjudicated)
    except ValidationError as error:
        raise ValueError(first_fault(error)) from None


def _edits_between(
    page_key: str,
    boxes: Mapping[str, AnnotatedBox],
    regions: Sequence[Region],
    size: tuple[int, int],
    annotator: str,
    ts: datetime,
    adjudicated: bool,
) -> list[Edit]:
    shown = {region.box_id: region for region in regions_of(boxes, *size)}
    labels = labels_of(boxes.values())
    taken: dict[str, Region] = {}
    fresh: list[Region] = []
    for region in regions:
        before = shown.get(region.box_id)
        if before is not None and before.kind == region.kind and region.box_id not in taken:
            taken[region.box_id] = region
        else:
            fresh.append(region)
    new = []
    for region in fresh:
        free = (name for name, old in shown.items() if name not in taken and old.kind == region.kind)
        match = next((name for name in free if is_unmoved(shown[name].bbox, region.bbox)), None)
        if match is None:
            new.append(region)
        else:
            taken[match] = region
    common: dict[str, Any] = {"page_key": page_key, "annotator": annotator, "ts": ts}
    edits: list[Edit] = [Review(**common)]
    common["adjudicated"] = adjudicated
    for name, before in shown.items():
        box = boxes[name]
        after = taken.get(name)
        if after is None:
            edits.append(RemoveEdit(**common, box_id=name, old_box=box.bbox))
            continue
        if not is_unmoved(before.bbox, after.bbox):
            edits.append(MoveEdit(**common, box_id=name, old_box=box.bbox, new_box=after.bbox))
        if (before.label, before.type) != (after.label, after.type):
            who = identity_of(after.label, labels)
            edits.append(IdentityEdit(**common, box_id=name, old_id=box.character_id, new_id=who, type=after.type))
    for region in new:
        repeat = 0
        while (name := box_id_of(page_key, region.kind, region.bbox, repeat)) in boxes:
            repeat += 1
        person = identity_of(region.label, labels) if region.kind == "character" else None
        edits.append(
            AddEdit(**common, box_id=name, kind=region.kind, new_box=region.bbox, new_id=person, type=region.type)
        )
    return edits


def identity_of(label: str, labels: Mapping[str, int | str]) -> int | str:
    """The id behind a label: the page's own, else a whole number if it reads as one, else the text."""
    if label in labels:
        return labels[label]
    return int(label) if re.fullmatch(r"0|-?[1-9][0-9]{0,14}", label) else label


def checked_region(box_id: str, kind: str, bbox: Iterable[float], label: str, type_: str) -> Region:
    """A region from outside. Raises ValueError (one line) for what no annotator can have meant."""
    sides = tuple(bbox)
    x1, y1, x2, y2 = sides
    if not np.isfinite(sides).all() or max(map(abs, sides)) > MAX_SIDE or x1 >= x2 or y1 >= y2:
        raise ValueError(f"box {list(sides)} has no area or is not finite; expected x1 < x2 and y1 < y2 in pixels")
    place: Bbox = (x1, y1, x2, y2)
    if kind == "frame":
        return Region(box_id, "frame", place)
    if kind == "dialog":
        return Region(box_id, "dialog", place)
    if kind != "character":
        raise ValueError(f"label {kind[:40]!r}; expected frame, character or dialog")
    label = _UNFIT.sub(" ", label).strip()
    if not label or len(label) > MAX_LABEL + 8:
        raise ValueError(f"character_id {label[:40]!r}; expected 1 to {MAX_LABEL} printable characters")
    if type_ not in _TYPES:
        raise ValueError(f"type {type_[:40]!r}; expected 0 (clean), 1 (vague) or 2 (exaggerated)")
    return Region(box_id, "character", place, label, _TYPES[type_])
