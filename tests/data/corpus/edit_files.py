"""Corrections from outside that must not get in: JSONL of edits, Label Studio's JSON, CVAT's XML."""

import json
from pathlib import Path
from typing import Any

from diffsensei.data.annotation.boxes import boxes_of_page
from diffsensei.data.annotation.edit_files import read_edit_files
from diffsensei.data.annotation.machine_layer import MachineLayer
from diffsensei.data.page_paths import page_id_of
from diffsensei.data.records import PageAnnotation
from tests.data.corpus.entry import Entry

PAGE = PageAnnotation.model_validate(
    {
        "image_path": "a/1.png",
        "frames": [{"bbox": [0, 0, 90, 90], "caption": "c", "characters": [{"id": 0, "bbox": [5, 5, 40, 80]}]}],
        "meta": {"file": "1.png", "width": 100, "height": 100},
    }
)

FRAME, HERO = boxes_of_page(PAGE)
EDIT = {"page_key": "a/1.png", "box_id": HERO, "old_id": 0, "new_id": 1, "annotator": "a", "ts": "2026-01-02T03:04:05Z"}
MOVE = {key: EDIT[key] for key in ("page_key", "box_id", "annotator", "ts")} | {
    "action": "move",
    "old_box": [5, 5, 40, 80],
}
REGION: dict[str, Any] = {"id": FRAME, "type": "rectanglelabels", "from_name": "kind"}
PLACE: dict[str, Any] = {"x": 0, "y": 0, "width": 90, "height": 90, "rectanglelabels": ["frame"]}


def _entry(name: str, expected: str, file: str, content: str | bytes) -> Entry:
    """``expected`` is how the error begins after the file's name; the verdict is cut to it where it does."""

    def run(folder: Path) -> str:
        path = folder / file
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        try:
            read_edit_files([path], MachineLayer([PAGE.model_dump()]))
        except ValueError as error:
            told = f"error: {str(error).removeprefix(file).lstrip(': ')}"
            is_one_line = "\n" not in told and len(told) < 500
            return verdict if is_one_line and told.startswith(verdict) else told
        return "accepted"

    verdict = f"error: {expected}"
    return Entry(name, "annotation", verdict, run)


def _line(name: str, expected: str, content: str | bytes) -> Entry:
    return _entry(f"edit {name}", f"line 1: {expected}", "edits.jsonl", content)


def _edit(name: str, expected: str, **changes: Any) -> Entry:
    return _line(name, expected, json.dumps(EDIT | changes))


def _task(name: str, expected: str, place: dict[str, Any], **data: Any) -> Entry:
    size = {"page_key": "a/1.png", "width": 100, "height": 100} | data
    task = {"data": size, "annotations": [{"result": [REGION | {"value": PLACE | place}]}]}
    return _entry(f"label studio {name}", f"task 0{expected}", "x.json", json.dumps([task]))


def _xml(name: str, expected: str, content: str | bytes) -> Entry:
    return _entry(f"cvat {name}", expected, "x.xml", content)


def _image(box: str, name: str = f"{page_id_of('a/1.png')}.png", width: str = "100") -> str:
    return f'<annotations><image name="{name}" width="{width}" height="100"><box {box}/></image></annotations>'


SIDES = 'label="frame" xtl="0" ytl="0" xbr="90" ybr="90"'
IMAGE = f"image '{page_id_of('a/1.png')}.png': "
BOMB = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))

ENTRIES: tuple[Entry, ...] = (
    _entry("edit file of something else", "starts with b'P'", "edits.zip", b"PK\x03\x04"),
    _line("cut off", "edit: Invalid JSON", json.dumps(EDIT)[:-9]),
    _line("nested without end", "edit: Invalid JSON", '{"page_key":' * 1000),
    _line("longer than any edit", "longer than 16384 bytes", json.dumps(EDIT | {"annotator": "a" * 20_000})),
    _line("in no encoding", "edit: Invalid JSON", b'{"page_key": "\xff"}'),
    _edit("of an unknown page", "no page '../../etc/passwd'", page_key="../../etc/passwd"),
    _edit("of an unknown box", "page 'a/1.png' has no box", box_id="0" * 16),
    _edit("of a box named as a path", "box_id: String should match", box_id="../../../../x"),
    _edit("of a frame's identity", f"box {FRAME} is a frame", box_id=FRAME),
    _edit("with an id of control characters", "new_id", new_id="\x1b[31m"),
    _edit("with an id that is true", "new_id", new_id=True),
    _edit("with an unknown type", "type", type=7),
    _edit("with an unknown field", "__class__: Extra inputs", __class__="x"),
    _edit("with an unknown action", "edit: Input tag", action="eval"),
    _edit("without a time zone", "ts: Input should have timezone", ts="2026-01-02T03:04:05"),
    _line("to nowhere", "new_box", json.dumps(MOVE | {"new_box": [0, 0, float("nan"), 1]})),
    _line("to infinity", "new_box", json.dumps(MOVE | {"new_box": [0, 0, float("inf"), 1]})),
    _line(
        "to a box without area", "edit: Value error, new_box has no area", json.dumps(MOVE | {"new_box": [9, 0, 9, 1]})
    ),
    _entry("label studio cut off", "is not JSON", "x.json", '[{"data":'),
    _entry("label studio nested", "is not JSON", "x.json", "[" * 100_000),
    _task("of an unknown page", ": no page 'b'", {}, page_key="b"),
    _task("with no size", ", data.width", {}, width=0),
    _task("with a box of nan", ": box [0.0, 0.0, nan", {"width": float("nan")}),
    _task("with an inverted box", ": box", {"width": -3}),
    _task("with a rotated box", f": region {FRAME!r} is rotated", {"rotation": 12}),
    _task("with an unknown label", ": label '<script>'", {"rectanglelabels": ["<script>"]}),
    _xml("of entities", "the XML declares a document type", f"<!DOCTYPE x [<!ENTITY a0 'a'>{BOMB}]><x>&a9;</x>"),
    _xml("that reads files", "the XML declares", '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>'),
    _xml("cut off", "not XML", "<annotations><image"),
    _xml("of another program", "root element 'svg'", "<svg/>"),
    _xml("of an unknown image", "image '../../x.png': no page", _image(SIDES, "../../x.png")),
    _xml("with a width of words", f"{IMAGE}width 'wide'", _image(SIDES, width="wide")),
    _xml("with a rotated box", f"{IMAGE}a box is rotated", _image(f'{SIDES} rotation="9"')),
    _xml("with a box of nan", f"{IMAGE}box", _image(SIDES.replace("90", "nan"))),
    _xml("with an unknown label", f"{IMAGE}label 'cat'", _image(SIDES.replace("frame", "cat"))),
)
