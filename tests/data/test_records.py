"""The annotation file: what loads, and how what does not is refused."""

import json
import math
from typing import Any

import pytest

from diffsensei.data.records import parse_page


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
