"""Who wins, who is in dispute, and whom each box is from; by hand on a small page."""

from datetime import UTC, datetime
from typing import Any

import pytest

from diffsensei.data.annotation.boxes import AnnotatedBox, boxes_of_page
from diffsensei.data.annotation.edits import AddEdit, Edit, IdentityEdit, MoveEdit, RemoveEdit, Review
from diffsensei.data.annotation.layers import BoxLayers, RefinedPage, refine_page
from diffsensei.data.records import PageAnnotation

KEY = "a/1.png"
WHEN = datetime(2026, 1, 2, tzinfo=UTC)
ADDED = "0" * 16


@pytest.fixture
def boxes(page: PageAnnotation) -> dict[str, AnnotatedBox]:
    return boxes_of_page(page)


@pytest.fixture
def hero(boxes: dict[str, AnnotatedBox]) -> AnnotatedBox:
    """The first character: id 0, type 0, at (10, 10, 30, 60)."""
    return next(box for box in boxes.values() if box.kind == "character")


def who(annotator: str) -> dict[str, Any]:
    return {"page_key": KEY, "annotator": annotator, "ts": WHEN}


def named(box: AnnotatedBox, annotator: str, old: int | str, new: int | str, **more: Any) -> IdentityEdit:
    return IdentityEdit(**who(annotator), box_id=box.box_id, old_id=old, new_id=new, **more)


def moved(box: AnnotatedBox, annotator: str, x2: float, old: float = 30, **more: Any) -> MoveEdit:
    sides = {"old_box": (10, 10, old, 60), "new_box": (10, 10, x2, 60)}
    return MoveEdit(**who(annotator), box_id=box.box_id, **sides, **more)


def added(name: str, annotator: str, x1: float, **more: Any) -> AddEdit:
    return AddEdit(**who(annotator), box_id=name, kind="character", new_box=(x1, 10, x1 + 20, 60), new_id=5, **more)


def refine(boxes: dict[str, AnnotatedBox], *edits: Edit) -> RefinedPage:
    before = dict(boxes)
    refined = refine_page(KEY, boxes, edits)
    assert boxes == before
    assert [box.machine for box in refined.boxes if box.machine] == list(boxes.values())
    return refined


def of(refined: RefinedPage, box_id: str) -> BoxLayers:
    return next(box for box in refined.boxes if box.box_id == box_id)


def test_without_edits_all_is_the_machines(boxes: dict[str, AnnotatedBox], page: PageAnnotation) -> None:
    refined = refine(boxes)
    assert refined.frames() == (page.frames, 0)
    assert {(box.state, box.by) for box in refined.boxes} == {("kept", ("machine",))}


def test_one_annotator_changes_step_by_step(boxes: dict[str, AnnotatedBox], hero: AnnotatedBox) -> None:
    box = of(
        refine(boxes, named(hero, "ann", 0, 3), named(hero, "ann", 3, "1", type=2), moved(hero, "ann", 40)), hero.box_id
    )
    assert box.final is not None
    assert (box.final.character_id, box.final.type, box.final.bbox) == (1, 2, (10, 10, 40, 60))
    assert (box.state, box.by, box.id_changed) == ("changed", ("ann",), True)


def test_what_the_annotator_saw_must_be_there(boxes: dict[str, AnnotatedBox], hero: AnnotatedBox) -> None:
    for edit, told in [
        (named(hero, "ann", 7, 3), "saw id 7, the box has 0"),
        (moved(hero, "ann", 50, old=35), "saw another place"),
    ]:
        box = of(refine(boxes, edit), hero.box_id)
        assert (box.state, box.final) == ("disputed", hero)
        assert told in box.dispute


def test_a_second_export_replaces_the_first(boxes: dict[str, AnnotatedBox], hero: AnnotatedBox) -> None:
    first = [moved(hero, "ann", 40), named(hero, "ann", 0, 3), added(ADDED, "ann", 150)]
    again = [moved(hero, "ann", 50), named(hero, "ann", 0, 4), added(ADDED, "ann", 160)]
    assert refine(boxes, *first, *again).final == refine(boxes, *again).final


def test_two_who_agree_both_count(boxes: dict[str, AnnotatedBox], hero: AnnotatedBox) -> None:
    box = of(refine(boxes, named(hero, "ann", 0, 1), named(hero, "bob", 0, "1")), hero.box_id)
    assert (box.state, box.by) == ("changed", ("ann", "bob"))


def test_two_who_disagree_change_nothing(boxes: dict[str, AnnotatedBox], hero: AnnotatedBox) -> None:
    edits = [named(hero, "ann", 0, 1), named(hero, "bob", 0, 2)]
    refined = refine(boxes, *edits)
    (box,) = refined.disputes
    assert (box.final, box.by, box.edits) == (hero, ("machine",), tuple(edits))
    assert box.dispute == "ann and bob disagree"


def test_who_saw_anothers_work_reviews_it(boxes: dict[str, AnnotatedBox], hero: AnnotatedBox) -> None:
    box = of(refine(boxes, named(hero, "ann", 0, 3), named(hero, "bob", 3, 4)), hero.box_id)
    assert box.final is not None
    assert (box.final.character_id, box.by, box.dispute) == (4, ("ann", "bob"), "")


@pytest.mark.parametrize("saw", [0, 1, 2])
def test_an_adjudicated_edit_decides(boxes: dict[str, AnnotatedBox], hero: AnnotatedBox, saw: int) -> None:
    edits = [named(hero, "ann", 0, 1), named(hero, "bob", 0, 2), named(hero, "eve", saw, 2, adjudicated=True)]
    box = of(refine(boxes, *edits), hero.box_id)
    assert box.final is not None
    assert (box.final.character_id, box.by) == (2, ("eve",))


def test_an_adjudicated_edit_may_keep_the_machines(boxes: dict[str, AnnotatedBox], hero: AnnotatedBox) -> None:
    edits = [named(hero, "ann", 0, 1), named(hero, "bob", 0, 2), named(hero, "eve", 0, 0, adjudicated=True)]
    assert of(refine(boxes, *edits), hero.box_id).state == "kept"


def test_removing_against_naming_is_a_dispute(boxes: dict[str, AnnotatedBox], hero: AnnotatedBox) -> None:
    gone = RemoveEdit(**who("bob"), box_id=hero.box_id, old_box=hero.bbox)
    assert of(refine(boxes, named(hero, "ann", 0, 1), gone), hero.box_id).state == "disputed"
    alone = of(refine(boxes, gone), hero.box_id)
    assert (alone.state, alone.final, alone.by) == ("removed", None, ("bob",))


def test_added_boxes_find_their_frame(boxes: dict[str, AnnotatedBox]) -> None:
    refined = refine(boxes, added(ADDED, "ann", 150), Review(**who("ann")))
    assert of(refined, ADDED).state == "added"
    frames, outside = refined.frames()
    assert [(c.id, c.bbox) for c in frames[1].characters][1:] == [(5, (150, 10, 170, 60))]
    assert outside == 0
    assert refined.annotators == ("ann",)


def test_two_who_add_one_box_are_in_dispute(boxes: dict[str, AnnotatedBox]) -> None:
    refined = refine(boxes, added(ADDED, "ann", 150), added("1" * 16, "bob", 153))
    assert [box.box_id for box in refined.disputes] == [ADDED, "1" * 16]
    assert len(refined.final) == len(boxes)
    settled = refine(boxes, added(ADDED, "ann", 150), added("1" * 16, "bob", 153, adjudicated=True))
    assert [box.box_id for box in settled.disputes] == [ADDED]
    assert refine(boxes, added(ADDED, "ann", 150), added("1" * 16, "bob", 175)).disputes == []


def test_an_unknown_box_is_an_error(boxes: dict[str, AnnotatedBox], hero: AnnotatedBox) -> None:
    with pytest.raises(KeyError):
        refine_page(KEY, {}, [named(hero, "ann", 0, 1)])
