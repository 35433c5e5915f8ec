import hashlib
from dataclasses import replace

from diffsensei.data.annotation.boxes import AnnotatedBox, box_id_of, boxes_of_page, frames_of
from diffsensei.data.records import PageAnnotation


def test_names_are_fixed_for_ever() -> None:
    spelled = b'["a/1.png", "frame", [0.0, 0.0, 100.0, 100.0], 0]'
    assert box_id_of("a/1.png", "frame", (0, 0, 100, 100)) == hashlib.sha256(spelled).hexdigest()[:16]


def test_boxes_make_the_page_again(page: PageAnnotation) -> None:
    boxes = boxes_of_page(page)
    assert [box.kind for box in boxes.values()] == [
        "frame",
        "character",
        "character",
        "dialog",
        "frame",
        "character",
        "dialog",
    ]
    assert frames_of(boxes.values()) == (page.frames, 0)


def test_names_do_not_depend_on_ids_types_and_captions(page: PageAnnotation) -> None:
    frame = page.frames[0]
    other = frame.model_copy(
        update={
            "caption": "?",
            "characters": tuple(c.model_copy(update={"id": "x", "type": 2}) for c in frame.characters),
        }
    )
    assert list(boxes_of_page(page.model_copy(update={"frames": (other, page.frames[1])}))) == list(boxes_of_page(page))


def test_the_same_box_twice_has_two_names(page: PageAnnotation) -> None:
    frame = page.frames[0]
    twice = frame.model_copy(update={"characters": frame.characters[:1] * 2})
    assert len(boxes_of_page(page.model_copy(update={"frames": (twice,)}))) == 4


def test_boxes_without_a_frame_go_where_most_of_them_is(page: PageAnnotation) -> None:
    boxes = boxes_of_page(page)
    (first, *_, second) = [box for box in boxes.values() if box.kind == "character"]
    moved = replace(first, bbox=(95, 10, 120, 60), frame="")
    lost = AnnotatedBox("0" * 16, "dialog", (300, 300, 310, 310))
    frames, outside = frames_of([*(moved if box is first else box for box in boxes.values()), lost])
    assert outside == 1
    assert [c.bbox for c in frames[1].characters] == [moved.bbox, second.bbox]


def test_a_box_of_a_frame_that_is_gone_finds_another(page: PageAnnotation) -> None:
    boxes = [box for box in boxes_of_page(page).values() if box.caption != "left"]
    frames, outside = frames_of(boxes)
    assert (len(frames), outside) == (1, 3)
