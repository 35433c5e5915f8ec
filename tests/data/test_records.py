"""The annotation file: what loads, and how what does not is refused."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from diffsensei.data.records import parse_page, read_annotations


def _page() -> dict[str, Any]:
    return {
        "image_path": "manga/1/1.png",
        "frames": [
            {
                "bbox": [1, 2, 30.5, 40],
                "caption": "a person",
                "characters": [{"id": 3, "bbox": [2, 3, 10, 20], "type": 2}, {"id": "a", "bbox": [0, 0, 1, 1]}],
                "dialogs": [{"bbox": [5, 5, 9, 9], "text": "unused"}],
            }
        ],
        "meta": {"url1": "https://a/1.png", "url2": "https://a/2.png", "width1": 100, "width2": 90, "extra": 1},
    }


def test_a_page_becomes_a_record() -> None:
    page = parse_page(_page())
    frame = page.frames[0]
    assert frame.bbox == (1.0, 2.0, 30.5, 40.0)
    assert [(c.id, c.type) for c in frame.characters] == [(3, 2), ("a", 0)], "a missing type counts as 0"
    assert frame.dialogs[0].bbox == (5.0, 5.0, 9.0, 9.0)
    assert (page.meta.width1, page.meta.width2) == (100, 90)


def test_impossible_geometry_still_loads() -> None:
    raw = _page()
    raw["frames"][0]["bbox"] = [500, 40, -3, math.nan]
    assert math.isnan(parse_page(json.loads(json.dumps(raw))).frames[0].bbox[3])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda p: p["meta"].pop("url2"), "meta.url2"),
        (lambda p: p.update(image_path=None), "image_path"),
        (lambda p: p["frames"][0].update(bbox=[1, 2, 3]), "frames.0.bbox"),
        (lambda p: p["frames"][0]["characters"][1].update(bbox="left"), "frames.0.characters.1.bbox"),
        (lambda p: p["frames"][0].pop("caption"), "frames.0.caption"),
        (lambda p: p["meta"].update(width1="wide"), "meta.width1"),
    ],
)
def test_what_does_not_fit_is_named_on_one_line(change: Any, field: str) -> None:
    raw = _page()
    change(raw)
    with pytest.raises(ValueError, match=field.replace(".", r"\.")) as refused:
        parse_page(raw)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("raw", [None, 3, [], "page"])
def test_something_else_than_a_page_is_refused(raw: Any) -> None:
    with pytest.raises(ValueError, match="page annotation"):
        parse_page(raw)


def test_reading_keeps_pages_raw(tmp_path: Path) -> None:
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps([_page(), {"broken": True}]))
    assert read_annotations(path) == [_page(), {"broken": True}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}", "holds a dict; expected a list"),
        (b"[1]", "page 0 is a int; expected an object"),
        (b"[{]", "is not JSON"),
        (b"\xff\xfe[", "is not JSON"),
        (None, "does not exist"),
    ],
)
def test_a_file_that_is_no_list_of_pages_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "annotations.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as refused:
        read_annotations(path)
    assert "\n" not in str(refused.value)


def test_a_folder_is_no_annotation_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a folder"):
        read_annotations(tmp_path)
