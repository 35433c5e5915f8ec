"""Machine layer, edits, final layer: corrections applied box by box, and who made each box what it is.

The machine layer is never changed. An edit holds only for what its annotator saw (``old_id``, ``old_box``). Annotators
who saw the same box and left it different are in dispute: the box stays the machine's until an edit marked
``adjudicated`` decides.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from diffsensei.data.annotation.boxes import AnnotatedBox, frames_of
from diffsensei.data.annotation.edits import AddEdit, BoxEdit, Edit, IdentityEdit, MoveEdit, RemoveEdit, Review
from diffsensei.data.records import Bbox, FrameAnnotation
from diffsensei.geometry import pairwise_iou

UNMOVED_PX = 1.0
"""Sides that differ by no more are the same: tools store percentages and round them."""
SAME_BOX_IOU = 0.5
"""Boxes of one kind that two annotators added, and which overlap this much, are meant to be one."""

MACHINE = "machine"
State = Literal["kept", "changed", "added", "removed", "disputed"]


@dataclass(frozen=True)
class BoxLayers:
    """A box in each layer: None in ``machine`` if people added it, in ``final`` if they removed it."""

    page_key: str
    machine: AnnotatedBox | None
    final: AnnotatedBox | None
    edits: tuple[BoxEdit, ...]
    """All edits of the box, in order, whether or not they count."""
    by: tuple[str, ...]
    """Whom the final layer has it from: ``("machine",)`` or annotators."""
    dispute: str = ""
    """Why no edit was applied, if that is so."""

    @property
    def box_id(self) -> str:
        return self.edits[0].box_id if self.machine is None else self.machine.box_id

    @property
    def state(self) -> State:
        if self.dispute:
            return "disputed"
        if self.final is None:
            return "removed"
        if self.machine is None:
            return "added"
        return "kept" if self.final is self.machine or self.final == self.machine else "changed"

    @property
    def id_changed(self) -> bool:
        """Whether a character of both layers is somebody else in the final one."""
        if self.machine is None or self.final is None:
            return False
        return str(self.machine.character_id) != str(self.final.character_id)


@dataclass(frozen=True)
class RefinedPage:
    page_key: str
    boxes: tuple[BoxLayers, ...]
    """The machine's in their order, then those added."""
    annotators: tuple[str, ...]
    """Who edited or reviewed the page, in order."""

    @property
    def final(self) -> list[AnnotatedBox]:
        return [box.final for box in self.boxes if box.final is not None]

    @property
    def disputes(self) -> list[BoxLayers]:
        return [box for box in self.boxes if box.dispute]

    def frames(self) -> tuple[tuple[FrameAnnotation, ...], int]:
        """The page's frames, and how many boxes lie in none of them and are left out."""
        return frames_of(self.final)


def refine_page(page_key: str, machine: Mapping[str, AnnotatedBox], edits: Iterable[Edit]) -> RefinedPage:
    """Apply ``edits`` of one page, in order, to its boxes by name.

    Raises KeyError for an edit of a box that neither ``machine`` has nor an earlier edit adds; readers of edits refuse
    such files.
    """
    annotators: dict[str, None] = {}
    by_box: dict[str, list[BoxEdit]] = {name: [] for name in machine}
    for edit in edits:
        annotators[edit.annotator] = None
        if isinstance(edit, Review):
            continue
        if isinstance(edit, AddEdit):
            by_box.setdefault(edit.box_id, [])
        by_box[edit.box_id].append(edit)
    ids = {str(box.character_id): box.character_id for box in machine.values() if box.kind == "character"}
    layers = [_resolve(page_key, machine.get(name), tuple(of_box), ids) for name, of_box in by_box.items()]
    return RefinedPage(page_key, tuple(_dispute_twins(layers)), tuple(annotators))


def _resolve(
    page_key: str, machine: AnnotatedBox | None, edits: tuple[BoxEdit, ...], ids: Mapping[str, int | str]
) -> BoxLayers:
    decided = tuple(edit for edit in edits if edit.adjudicated)
    heads: dict[str, tuple[AnnotatedBox | None, tuple[str, ...]]] = {}
    for edit in decided or edits:
        start = (machine, ())
        # Their own work, another's, or the machine's once more: a second export replaces the first.
        own = heads.get(edit.annotator, start)
        seen = [own, *(head for name, head in heads.items() if name != edit.annotator), start]
        if decided and edit.annotator not in heads:
            # What is decided may have been seen as the machine left it or as one of the annotators did.
            proposals = [_alone(machine, edits, name, ids) for name in dict.fromkeys(e.annotator for e in edits)]
            seen += [(box, ()) for box in proposals if box is not None]
        base = next((head for head in seen if _saw(edit, head[0])), None)
        if base is None:
            return BoxLayers(page_key, machine, machine, edits, (MACHINE,), f"{edit.annotator} {_stale(edit, machine)}")
        # Who goes on from another's work takes it over: that is a review, not a dispute.
        heads = {name: head for name, head in heads.items() if head is not base}
        names = tuple(dict.fromkeys((*base[1], edit.annotator)))
        heads[edit.annotator] = (_applied(edit, base[0], ids), names)
    outcomes = [box for box, _ in heads.values()]
    if any(not _alike(box, outcomes[0]) for box in outcomes[1:]):
        who = " and ".join(heads)
        return BoxLayers(page_key, machine, machine, edits, (MACHINE,), f"{who} disagree")
    if not outcomes or outcomes[0] == machine:
        return BoxLayers(page_key, machine, machine, edits, (MACHINE,))
    by = tuple(dict.fromkeys(name for _, names in heads.values() for name in names))
    return BoxLayers(page_key, machine, outcomes[0], edits, by)


def _alone(
    machine: AnnotatedBox | None, edits: Sequence[BoxEdit], annotator: str, ids: Mapping[str, int | str]
) -> AnnotatedBox | None:
    """The box as one annotator left it, adjudication apart."""
    box = machine
    for edit in edits:
        if edit.annotator == annotator and not edit.adjudicated and _saw(edit, box):
            box = _applied(edit, box, ids)
    return box


def _saw(edit: BoxEdit, box: AnnotatedBox | None) -> bool:
    """Whether ``box`` is what the annotator of ``edit`` had before them."""
    if isinstance(edit, AddEdit):
        return box is None
    if box is None:
        return False
    if isinstance(edit, IdentityEdit):
        return box.kind == "character" and str(edit.old_id) == str(box.character_id)
    return is_unmoved(edit.old_box, box.bbox)


def _applied(edit: BoxEdit, box: AnnotatedBox | None, ids: Mapping[str, int | str]) -> AnnotatedBox | None:
    """``box`` after ``edit``; ids that the page has keep their kind (3 and "3" are one person)."""
    match edit:
        case RemoveEdit():
            return None
        case AddEdit():
            who = "" if edit.new_id is None else ids.get(str(edit.new_id), edit.new_id)
            return AnnotatedBox(edit.box_id, edit.kind, edit.new_box, "", who, edit.type, edit.caption)
        case MoveEdit():
            assert box is not None
            return replace(box, bbox=edit.new_box, frame="")
        case IdentityEdit():
            assert box is not None
            kind = box.type if edit.type is None else edit.type
            return replace(box, character_id=ids.get(str(edit.new_id), edit.new_id), type=kind)


def _stale(edit: BoxEdit, box: AnnotatedBox | None) -> str:
    if box is None:
        return "edited a box that is not there any more"
    if isinstance(edit, IdentityEdit):
        return f"saw id {edit.old_id!r}, the box has {box.character_id!r}"
    return f"saw another place than {[round(side, 1) for side in box.bbox]}"


def _alike(a: AnnotatedBox | None, b: AnnotatedBox | None) -> bool:
    """Whether two annotators left a box the same, up to rounding."""
    if a is None or b is None:
        return a is b
    return is_unmoved(a.bbox, b.bbox) and replace(a, bbox=b.bbox, frame=b.frame) == b


def is_unmoved(a: Bbox, b: Bbox) -> bool:
    """Whether no side differs by more than `UNMOVED_PX`; sides that are not finite never do."""
    return bool(np.nan_to_num(np.abs(np.subtract(a, b)), nan=0.0).max() <= UNMOVED_PX)


def _dispute_twins(layers: Sequence[BoxLayers]) -> list[BoxLayers]:
    """Boxes that different annotators added in the same place are one box in dispute, unless one is adjudicated."""
    added = [index for index, box in enumerate(layers) if box.state == "added"]
    found = list(layers)
    for place, first in enumerate(added):
        for second in added[place + 1 :]:
            a, b = layers[first], layers[second]
            assert a.final is not None
            assert b.final is not None
            if a.final.kind != b.final.kind or set(a.by) & set(b.by):
                continue
            if pairwise_iou(np.array(a.final.bbox), np.array(b.final.bbox))[0, 0] < SAME_BOX_IOU:
                continue
            settled = [any(edit.adjudicated for edit in box.edits) for box in (a, b)]
            for index, box, other, keeps in ((first, a, b, settled[0]), (second, b, a, settled[1])):
                if not keeps:
                    who = f"{' and '.join((*box.by, *other.by))} added it in places that overlap"
                    found[index] = replace(box, final=None, by=(MACHINE,), dispute=who)
    return found
