"""The boxes of a page under stable names, and the page again from its boxes.

A box is named after what the machine drew, so that corrections made in any tool, in any order, find it again.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from diffsensei.data.records import Bbox, CharacterAnnotation, DialogAnnotation, FrameAnnotation, PageAnnotation
from diffsensei.geometry import intersection

Kind = Literal["frame", "character", "dialog"]
KINDS: tuple[Kind, ...] = ("frame", "character", "dialog")


@dataclass(frozen=True)
class AnnotatedBox:
    """One box of a page; ``bbox`` in pixels of the double page."""

    box_id: str
    kind: Kind
    bbox: Bbox
    frame: str = ""
    """Name of the frame it was annotated in; empty for frames, and where its place decides."""
    character_id: int | str = ""
    """Of characters only, as ``type`` is."""
    type: int = 0
    caption: str = ""
    """Of frames only."""


def box_id_of(page_key: str, kind: Kind, bbox: Bbox, repeat: int = 0) -> str:
    """16 hex digits that name a box of a page; ``repeat`` counts earlier boxes of the same kind and sides."""
    named = json.dumps([page_key, kind, [float(side) for side in bbox], repeat])
    return hashlib.sha256(named.encode()).hexdigest()[:16]


def boxes_of_page(page: PageAnnotation) -> dict[str, AnnotatedBox]:
    """The boxes of ``page`` by name: each frame, then its characters, then its dialogs. Its key is ``image_path``."""
    repeats: Counter[tuple[Kind, str]] = Counter()

    def name(kind: Kind, bbox: Bbox) -> str:
        repeat = repeats[kind, repr(bbox)]
        repeats[kind, repr(bbox)] += 1
        return box_id_of(page.image_path, kind, bbox, repeat)

    boxes = []
    for frame in page.frames:
        inside = name("frame", frame.bbox)
        boxes.append(AnnotatedBox(inside, "frame", frame.bbox, caption=frame.caption))
        boxes += [
            AnnotatedBox(name("character", it.bbox), "character", it.bbox, inside, it.id, it.type)
            for it in frame.characters
        ]
        boxes += [AnnotatedBox(name("dialog", it.bbox), "dialog", it.bbox, inside) for it in frame.dialogs]
    return {box.box_id: box for box in boxes}


def frames_of(boxes: Iterable[AnnotatedBox]) -> tuple[tuple[FrameAnnotation, ...], int]:
    """The frames that ``boxes`` make up, in their order, and how many boxes lie in none and are left out.

    A box stays in the frame it names; without a name, or when that frame is gone, it goes to the one that contains
    most of its area.
    """
    boxes = list(boxes)
    frames = {box.box_id: box for box in boxes if box.kind == "frame"}
    inside: dict[str, list[AnnotatedBox]] = {name: [] for name in frames}
    outside = 0
    for box in boxes:
        if box.kind == "frame":
            continue
        place = box.frame if box.frame in frames else _containing(box, frames)
        if place is None:
            outside += 1
        else:
            inside[place].append(box)
    return tuple(
        FrameAnnotation(
            bbox=frame.bbox,
            caption=frame.caption,
            characters=tuple(
                CharacterAnnotation(id=it.character_id, bbox=it.bbox, type=it.type)
                for it in inside[name]
                if it.kind == "character"
            ),
            dialogs=tuple(DialogAnnotation(bbox=it.bbox) for it in inside[name] if it.kind == "dialog"),
        )
        for name, frame in frames.items()
    ), outside


def _containing(box: AnnotatedBox, frames: dict[str, AnnotatedBox]) -> str | None:
    names = [name for name, frame in frames.items() if np.isfinite(frame.bbox).all()]
    if not names or not np.isfinite(box.bbox).all():
        return None
    common = intersection(np.array(box.bbox), np.array([frames[name].bbox for name in names]))
    best = int(common.argmax())
    return names[best] if common[best] > 0 else None
