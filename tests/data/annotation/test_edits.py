import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diffsensei.data.annotation.boxes import boxes_of_page
from diffsensei.data.annotation.edits import (
    MAX_LINE_BYTES,
    AddEdit,
    IdentityEdit,
    MoveEdit,
    RemoveEdit,
    Review,
    parse_edit,
    read_edits,
    write_edits,
)
from diffsensei.data.annotation.machine_layer import MachineLayer
from diffsensei.data.records import PageAnnotation

Write = Callable[[str, str | bytes], Path]
TS = "2026-01-02T03:04:00Z"
COMMON = {"page_key": "a/1.png", "annotator": "ann", "ts": TS}


@pytest.fixture
def machine(page: PageAnnotation) -> MachineLayer:
    return MachineLayer([page.model_dump()])


@pytest.fixture
def box(page: PageAnnotation) -> str:
    return next(name for name, box in boxes_of_page(page).items() if box.kind == "character")


def identity(box: str, **changes: Any) -> dict[str, Any]:
    return {**COMMON, "box_id": box, "old_id": 0, "new_id": 1, "type": 2, **changes}


def test_the_plain_form_changes_an_identity(box: str) -> None:
    edit = parse_edit(json.dumps(identity(box)))
    assert isinstance(edit, IdentityEdit)
    assert (edit.old_id, edit.new_id, edit.type, edit.adjudicated) == (0, 1, 2, False)


def test_written_edits_read_back(machine: MachineLayer, box: str, tmp_path: Path) -> None:
    who = {"page_key": "a/1.png", "annotator": "ann", "ts": parse_edit(json.dumps(identity(box))).ts}
    edits = [
        Review(**who),
        IdentityEdit(**who, box_id=box, old_id=0, new_id="Mika\u2028", adjudicated=True),
        MoveEdit(**who, box_id=box, old_box=(0, 0, 1, 1), new_box=(0, 0, 2, 2)),
        AddEdit(**who, box_id="0" * 16, kind="character", new_box=(1, 1, 2, 2), new_id=7, type=1),
        RemoveEdit(**who, box_id="0" * 16, old_box=(1, 1, 2, 2)),
    ]
    write_edits(edits, tmp_path / "edits.jsonl")
    assert read_edits(tmp_path / "edits.jsonl", machine) == edits


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"old_id": True}, "old_id"),
        ({"new_id": 1.5}, "new_id"),
        ({"new_id": "a\nb"}, "new_id"),
        ({"new_id": "x" * 129}, "new_id"),
        ({"new_id": 2**60}, "new_id"),
        ({"type": 3}, "type"),
        ({"type": "0"}, "type"),
        ({"box_id": "../../etc"}, "box_id"),
        ({"ts": "2026-01-02T03:04:00"}, "ts"),
        ({"annotator": ""}, "annotator"),
        ({"annotator": None}, "annotator"),
        ({"more": 1}, "more"),
        ({"action": "drop"}, "drop"),
        ({"action": 3}, "?"),
        ({"action": "move", "old_box": [0, 0, 1, 1]}, "new_box"),
        ({"page_key": "b/1.png"}, "they have 1 pages, the first is 'a/1.png'"),
        ({"box_id": "0" * 16}, "it has "),
    ],
)
def test_what_does_not_fit_is_one_line_with_its_number(
    changes: dict[str, Any], told: str, machine: MachineLayer, box: str, write: Write
) -> None:
    path = write("edits.jsonl", f"{json.dumps(identity(box))}\n\n{json.dumps(identity(box, **changes))}\n")
    with pytest.raises(ValueError, match="line 3") as error:
        read_edits(path, machine)
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "null",
        "[" * 9000,
        '{"page_key": "a/1.png", "box_id": NaN}',
        "x" * (MAX_LINE_BYTES + 1),
        "\x00",
        b"\xff\xfe",
        b'{"page_key": "\xed\xa0\x80"}',
    ],
)
def test_no_line_of_rubbish_does_more_than_an_error(line: str | bytes, machine: MachineLayer, write: Write) -> None:
    with pytest.raises(ValueError, match="line 1") as error:
        read_edits(write("edits.jsonl", line), machine)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("side", ["NaN", "Infinity", "1e400", "1e7", '"3"', "null"])
def test_boxes_are_finite_and_of_this_world(side: str, machine: MachineLayer, box: str) -> None:
    line = json.dumps({**COMMON, "action": "move", "box_id": box, "old_box": [0, 0, 1, 1], "new_box": [0, 0, 5, 77]})
    parse_edit(line)
    with pytest.raises(ValueError, match="new_box"):
        parse_edit(line.replace("77", side))


def test_boxes_have_an_area(box: str) -> None:
    line = json.dumps({**COMMON, "action": "move", "box_id": box, "old_box": [0, 0, 1, 1], "new_box": [5, 0, 5, 7]})
    with pytest.raises(ValueError, match="no area"):
        parse_edit(line)


def test_only_characters_have_an_identity(machine: MachineLayer, page: PageAnnotation, write: Write) -> None:
    frame = next(iter(boxes_of_page(page)))
    with pytest.raises(ValueError, match=r"line 1: box [0-9a-f]{16} is a frame"):
        read_edits(write("edits.jsonl", json.dumps(identity(frame))), machine)
    added = {**COMMON, "action": "add", "box_id": "0" * 16, "kind": "dialog", "new_box": [0, 0, 1, 1], "new_id": 3}
    with pytest.raises(ValueError, match="has no new_id"):
        read_edits(write("edits.jsonl", json.dumps(added)), machine)


def test_an_absent_file_is_one_line(machine: MachineLayer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist or is a folder"):
        read_edits(tmp_path, machine)
