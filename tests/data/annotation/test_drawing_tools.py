"""Label Studio and CVAT: nothing is lost on the way there and back, and what annotators do there arrives."""

import copy
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from diffsensei.data.annotation.boxes import AnnotatedBox, boxes_of_page
from diffsensei.data.annotation.cvat import LABELS, read_cvat, write_cvat
from diffsensei.data.annotation.edits import AddEdit, Edit, IdentityEdit, MoveEdit, RemoveEdit, Review
from diffsensei.data.annotation.label_studio import LABELING_CONFIG, TYPES, read_label_studio, task_of
from diffsensei.data.annotation.layers import refine_page
from diffsensei.data.annotation.machine_layer import MachineLayer
from diffsensei.data.page_paths import page_id_of
from diffsensei.data.records import PageAnnotation

KEY = "a/1.png"
SIZE = (200, 100)
Write = Callable[[str, str | bytes], Path]


def annotated(task: dict[str, Any], *, by: int | dict[str, Any] = 7, **more: Any) -> dict[str, Any]:
    """The task as Label Studio exports it when the annotator submits the prediction as it stands."""
    result = copy.deepcopy(task["predictions"][0]["result"])
    return {"data": task["data"], "annotations": [{"result": result, "completed_by": by, **more}]}


def label_studio_task(boxes: dict[str, AnnotatedBox], size: tuple[int, int] = SIZE) -> dict[str, Any]:
    return task_of(KEY, boxes, size, image_prefix="/data/local-files/?d=pages/", model_version="magi")


def through_label_studio(
    boxes: dict[str, AnnotatedBox], machine: MachineLayer, size: tuple[int, int], folder: Path
) -> list[Edit]:
    path = folder / "export.json"
    path.write_text(json.dumps([annotated(label_studio_task(boxes, size))]))
    return read_label_studio(path, machine)


def through_cvat(
    boxes: dict[str, AnnotatedBox], machine: MachineLayer, size: tuple[int, int], folder: Path
) -> list[Edit]:
    write_cvat([(KEY, boxes, size)], folder / "annotations.xml")
    return read_cvat(folder / "annotations.xml", machine)


TOOLS = pytest.mark.parametrize("through", [through_label_studio, through_cvat])
plain_ids = st.one_of(st.integers(-3, 30), st.sampled_from(["07", "Mika & <Ren>", "未", 'a"b', "]]>"]))
odd_ids = st.one_of(
    st.integers(-3, 30),
    st.sampled_from(["0", "07", " 1 ", "Mika & <Ren>", "未", 'a"b', "\x00", "", "a  b", "\n", "0 \x1b0"]),
    st.text(max_size=12),
)


@st.composite
def pages(draw: st.DrawFn, ids: st.SearchStrategy[int | str]) -> tuple[PageAnnotation, tuple[int, int]]:
    width, height = draw(st.integers(20, 4000)), draw(st.integers(20, 4000))

    def box() -> list[float]:
        x1, y1 = draw(st.floats(0, width - 10)), draw(st.floats(0, height - 10))
        return [x1, y1, draw(st.floats(x1 + 5, width)), draw(st.floats(y1 + 5, height))]

    def characters() -> list[dict[str, Any]]:
        return [
            {"id": draw(ids), "bbox": box(), "type": draw(st.integers(0, 2))} for _ in range(draw(st.integers(0, 4)))
        ]

    frames = [
        {
            "bbox": box(),
            "caption": "c",
            "characters": characters(),
            "dialogs": [{"bbox": box()} for _ in range(draw(st.integers(0, 2)))],
        }
        for _ in range(draw(st.integers(1, 3)))
    ]
    meta = {"file": "1.png", "width": width, "height": height}
    return PageAnnotation.model_validate({"image_path": KEY, "frames": frames, "meta": meta}), (width, height)


@TOOLS
@settings(max_examples=60, deadline=None)
@given(drawn=pages(odd_ids))
def test_there_and_back_is_no_edit(
    drawn: tuple[PageAnnotation, tuple[int, int]], through: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    page, size = drawn
    edits = through(boxes_of_page(page), MachineLayer([page.model_dump()]), size, tmp_path_factory.mktemp("tool"))
    assert [type(edit) for edit in edits] == [Review]


@TOOLS
@settings(max_examples=60, deadline=None)
@given(drawn=pages(plain_ids), data=st.data())
def test_what_is_changed_there_arrives(
    drawn: tuple[PageAnnotation, tuple[int, int]],
    data: st.DataObject,
    through: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Ids and types exactly, boxes to a pixel, for a page on which an annotator changed what they liked."""
    page, size = drawn
    before = boxes_of_page(page)
    after = {}
    for name, box in before.items():
        if data.draw(st.booleans()):
            continue
        if box.kind == "character":
            who = data.draw(
                st.sampled_from([*(box.character_id for box in before.values() if box.kind == "character"), 31, "Ren"])
            )
            box = replace(box, character_id=who, type=data.draw(st.integers(0, 2)))
        if data.draw(st.booleans()):
            x1, y1, _, y2 = box.bbox
            box = replace(box, bbox=(x1, y1, size[0], y2))
        after[name] = box
    assume(after)  # CVAT exports images nobody opened without boxes too: they do not count as worked on
    edits = through(after, MachineLayer([page.model_dump()]), size, tmp_path_factory.mktemp("tool"))
    final = {box.box_id: box for box in refine_page(KEY, before, edits).final}
    assert final.keys() == after.keys()
    for name, box in after.items():
        assert str(final[name].character_id) == str(box.character_id)
        assert final[name].type == box.type
        assert final[name].bbox == pytest.approx(box.bbox, abs=1)


def test_a_task_is_what_label_studio_reads(page: PageAnnotation) -> None:
    task = label_studio_task(boxes_of_page(page))
    assert task["data"]["image"] == f"/data/local-files/?d=pages/{page_id_of(KEY)}.png"
    assert "base64" not in json.dumps(task)
    results = task["predictions"][0]["result"]
    hero = results[1]
    assert hero["value"] == {
        "x": 5,
        "y": 10,
        "width": 10,
        "height": 50,
        "rotation": 0,
        "rectanglelabels": ["character"],
    }
    assert [(r["from_name"], r["type"]) for r in results if r["id"] == hero["id"]] == [
        ("kind", "rectanglelabels"), ("character_id", "textarea"), ("type", "choices"),
    ]  # fmt: skip
    tags = {tag.get("name"): tag for tag in ET.fromstring(LABELING_CONFIG).iter() if tag.get("name")}
    assert {r["from_name"] for r in results} | {"image"} == set(tags)
    assert tuple(choice.get("value") for choice in tags["type"]) == TYPES


def test_annotators_of_label_studio(page: PageAnnotation, write: Write) -> None:
    task = annotated(label_studio_task(boxes_of_page(page)), by={"id": 3, "email": "ann@example.org"})
    first = task["annotations"][0]
    for result in first["result"]:
        result["id"] += "#a1"
    (text,) = [r for r in first["result"] if r["from_name"] == "character_id"][:1]
    text["value"]["text"] = ["Mika"]
    del first["result"][-1]  # the dialog of the second frame
    new = {"id": "Xy_12", "type": "rectanglelabels", "from_name": "kind", "original_width": 200, "original_height": 100}
    first["result"].append(
        {**new, "value": {"x": 80, "y": 50, "width": 10, "height": 40, "rectanglelabels": ["character"]}}
    )
    first["result"].append({"id": "Xy_12", "type": "textarea", "from_name": "character_id", "value": {"text": ["4"]}})
    second = {"result": [], "completed_by": 9, "was_cancelled": True}
    third = {
        "result": annotated(label_studio_task(boxes_of_page(page)))["annotations"][0]["result"][:-1],
        "ground_truth": True,
        "completed_by": 1,
    }
    task["annotations"] += [second, third]
    edits = read_label_studio(write("export.json", json.dumps([task])), MachineLayer([page.model_dump()]))
    assert [type(edit) for edit in edits] == [Review, IdentityEdit, RemoveEdit, AddEdit, Review, RemoveEdit]
    assert [edit.annotator for edit in edits] == ["label-studio:ann@example.org"] * 4 + ["label-studio:1"] * 2
    assert isinstance(edits[1], IdentityEdit)
    assert (edits[1].old_id, edits[1].new_id) == (0, "Mika")
    assert isinstance(edits[3], AddEdit)
    assert (edits[3].new_box, edits[3].new_id) == ((160, 50, 180, 90), 4)
    assert isinstance(edits[5], RemoveEdit)
    assert edits[5].adjudicated


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda task: task["data"].update(page_key="b/1.png"), "no page 'b/1.png'"),
        (lambda task: task["data"].pop("width"), "data.width"),
        (lambda task: task["annotations"][0]["result"][0]["value"].update(rotation=3), "rotated by 3 degrees"),
        (
            lambda task: task["annotations"][0]["result"][0]["value"].update(width=float("nan")),
            "no area or is not finite",
        ),
        (lambda task: task["annotations"][0]["result"][0]["value"].update(rectanglelabels=["cat"]), "label 'cat'"),
        (lambda task: task["annotations"][0]["result"][0].update(original_width=150), "image of 150x100"),
        (lambda task: task["annotations"][0]["result"][2]["value"].update(text=[]), "character_id ''"),
        (lambda task: task["annotations"][0]["result"][3]["value"].update(choices=["9"]), "type '9'"),
        (lambda task: task["annotations"][0].update(result=3), "annotations.0.result"),
    ],
)
def test_a_task_that_does_not_fit_is_named(change: Any, told: str, page: PageAnnotation, write: Write) -> None:
    task = annotated(label_studio_task(boxes_of_page(page)))
    change(task)
    path = write("export.json", json.dumps([task]))
    with pytest.raises(ValueError, match=r"export.json task 0") as error:
        read_label_studio(path, MachineLayer([page.model_dump()]))
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_changes_in_cvat(page: PageAnnotation, tmp_path: Path) -> None:
    path = tmp_path / "annotations.xml"
    write_cvat([(KEY, boxes_of_page(page), SIZE)], path)
    text = path.read_text()
    text = text.replace(
        "<version>1.1</version>",
        "<version>1.1</version><meta><task><owner><username>ann</username></owner></task></meta>",
    )
    text = text.replace('<attribute name="character_id">0<', '<attribute name="character_id">1<').replace(
        'xbr="90.00"', 'xbr="95.00"'
    )
    path.write_text(text)
    review, identity, move = read_cvat(path, MachineLayer([page.model_dump()]))
    assert review.annotator == "cvat:ann"
    assert isinstance(identity, IdentityEdit)
    assert (identity.old_id, identity.new_id, identity.type) == (0, 1, 0)
    assert isinstance(move, MoveEdit)
    assert move.new_box == (60, 70, 95, 95)


BOMB = '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><annotations>&b;</annotations>'
OUTSIDE = '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotations>&x;</annotations>'
BOX = (
    '<annotations><image name="{page}.png" width="{w}" height="9">'
    '<box label="frame" xtl="{x}" ytl="0" xbr="5" ybr="5"{r}/></image></annotations>'
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BOMB, "document type"),
        (OUTSIDE, "document type"),
        ("<annotations>", "not XML"),
        ('<?xml version="1.0" encoding="nonsense"?><annotations/>', "not XML"),
        ("<html/>", "root element 'html'"),
        (BOX.format(page="../../etc", w=9, x=0, r=""), "no page has the id"),
        (BOX.format(page=page_id_of(KEY), w="NaN", x=0, r=""), "width 'NaN'"),
        (BOX.format(page=page_id_of(KEY), w="9" * 5000, x=0, r=""), "width"),
        (BOX.format(page=page_id_of(KEY), w=9, x="nan", r=""), "not finite"),
        (BOX.format(page=page_id_of(KEY), w=9, x="left", r=""), "could not convert"),
        (BOX.format(page=page_id_of(KEY), w=9, x=0, r=' rotation="45"'), "rotated"),
    ],
)
def test_xml_from_outside(text: str, told: str, page: PageAnnotation, write: Write) -> None:
    with pytest.raises(ValueError, match=r"annotations\.xml") as error:
        read_cvat(write("annotations.xml", text), MachineLayer([page.model_dump()]))
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_cvats_labels_have_the_attributes_that_are_written(page: PageAnnotation, tmp_path: Path) -> None:
    write_cvat([(KEY, boxes_of_page(page), SIZE)], tmp_path / "annotations.xml")
    known = {label["name"]: {a["name"] for a in label["attributes"]} for label in LABELS}
    for box in ET.parse(tmp_path / "annotations.xml").iter("box"):
        assert {attribute.get("name") for attribute in box} == known[box.get("label")]
