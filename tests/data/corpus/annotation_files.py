"""Annotation files that are wrong in every way that was seen or thought of, through the real reader and checks."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diffsensei.config.presets import paper
from diffsensei.data.validation.annotation_check import check_annotations
from tests.data.corpus.entry import Entry

CONFIG = paper().data
GOOD: dict[str, Any] = {
    "image_path": "series/chapter/1.jpg",
    "frames": [
        {
            "bbox": [10, 10, 310, 410],
            "caption": "a girl looks up",
            "characters": [{"id": 0, "bbox": [20, 20, 120, 120], "type": 0}],
            "dialogs": [{"bbox": [130, 20, 190, 80]}],
        }
    ],
    "meta": {"url1": "https://h/1", "url2": "https://h/2", "width1": 800, "width2": 800},
}
Change = Callable[[dict[str, Any]], Any]


def judge(content: bytes, folder: Path) -> str:
    """The first reason that something of the file was set aside, ``warning: <reason>``, or ``accepted``."""
    path = folder / "annotations.json"
    path.write_bytes(content)
    try:
        check = check_annotations(path, CONFIG.validation, CONFIG.buckets)
    except ValueError as error:
        return "error: " + str(error).replace(str(path), "FILE").replace("\n", " NEW LINE ")[:40].strip()
    if len(check.quarantine):
        return str(check.quarantine["reason"].iloc[0])
    found = [line["reason"] for line in check.report["checks"] if line["unexpected"] and line["id"] != "D10"]
    return f"warning: {found[0]}" if found else "accepted"


def _changed(name: str, expected: str, change: Change, *, beside: bool = False) -> Entry:
    """One page changed; with ``beside`` behind a sound one."""

    def run(folder: Path) -> str:
        page = copy.deepcopy(GOOD)
        change(page)
        return judge(json.dumps([copy.deepcopy(GOOD), page] if beside else [page]).encode(), folder)

    return Entry(name, "annotation", expected, run)


def _text(name: str, expected: str, content: bytes | str) -> Entry:
    data = content if isinstance(content, bytes) else content.encode()
    return Entry(name, "annotation", expected, lambda folder: judge(data, folder))


def _frame(**fields: Any) -> Change:
    return lambda page: page["frames"][0].update(fields)


def _character(**fields: Any) -> Change:
    return lambda page: page["frames"][0]["characters"][0].update(fields)


def _path(image_path: Any) -> Change:
    return lambda page: page.update(image_path=image_path)


def _meta(**fields: Any) -> Change:
    return lambda page: page["meta"].update(fields)


SOUND = json.dumps(GOOD)
NAN, INF = float("nan"), float("inf")
DEEP = "[" * 50_000 + "]" * 50_000

ENTRIES: tuple[Entry, ...] = (
    _changed("sound", "accepted", lambda page: None),
    # boxes
    _changed("nan_box", "panel_not_finite", _frame(bbox=[NAN, 10, 310, 410])),
    _changed("infinite_box", "panel_not_finite", _frame(bbox=[10, 10, INF, 410])),
    _text("overflowing_number", "panel_not_finite", f"[{SOUND.replace('310', '1e999')}]"),
    _changed("inverted_box", "panel_inverted", _frame(bbox=[310, 10, 10, 410])),
    _changed("box_of_no_area", "panel_inverted", _frame(bbox=[10, 10, 10, 410])),
    _changed("box_at_1e9", "panel_outside_page", _frame(bbox=[1e9, 1e9, 2e9, 2e9])),
    _changed("box_of_strings", "bad_annotation", _frame(bbox=["left", 10, 310, 410])),
    _changed("box_of_null", "bad_annotation", _frame(bbox=[None, 10, 310, 410])),
    _changed("box_of_three", "bad_annotation", _frame(bbox=[10, 10, 310])),
    _changed("box_of_true", "bad_annotation", _frame(bbox=[True, 10, 310, 410])),
    _changed("box_of_digits_as_text", "bad_annotation", _frame(bbox=["10", 10, 310, 410])),
    _changed("no_box", "bad_annotation", lambda page: page["frames"][0].pop("bbox")),
    _changed("tiny_panel", "panel_too_small", _frame(bbox=[10, 10, 20, 410])),
    _changed("character_elsewhere", "character_outside_panel", _character(bbox=[900, 20, 990, 120])),
    # contents
    _changed("empty_frames", "no_panels", lambda page: page.update(frames=[])),
    _changed("frames_is_an_object", "bad_annotation", lambda page: page.update(frames={})),
    _changed("ten_thousand_frames", "too_many_panels", lambda page: page.update(frames=page["frames"] * 10_000)),
    _changed("type_seven", "unknown_type", _character(type=7)),
    _changed("huge_type", "unknown_type", _character(type=10**300)),
    _changed("type_is_text", "bad_annotation", _character(type="face")),
    _changed("type_is_true", "bad_annotation", _character(type=True)),
    _changed("id_is_a_list", "bad_annotation", _character(id=[1])),
    _changed(
        "duplicate_id",
        "warning: duplicate_character_id",
        lambda page: page["frames"][0]["characters"].append(page["frames"][0]["characters"][0]),
    ),
    # captions
    _changed("caption_of_a_megabyte", "endless_caption", _frame(caption="word " * 200_000)),
    _changed("caption_is_null", "bad_annotation", _frame(caption=None)),
    _changed("blank_caption", "empty_caption", _frame(caption=" \u3000\t ")),
    _changed("caption_with_nul", "control_characters", _frame(caption="a\0girl")),
    _changed("caption_with_lone_surrogate", "control_characters", _frame(caption="a \ud83e girl")),
    _changed("caption_with_markup", "warning: html_caption", _frame(caption="<img src=x onerror=alert(1)>")),
    _changed("refusal", "refusal_caption", _frame(caption="I'm sorry, I cannot assist with that.")),
    _changed("emoji", "accepted", _frame(caption="a girl 🦊👩‍👩‍👧 looks up")),
    _changed("right_to_left", "accepted", _frame(caption="\u202e\u05d0\u05d9\u05dc\u05d3\u05d4")),
    # images
    _changed("missing_url2", "bad_annotation", lambda page: page["meta"].pop("url2")),
    _changed("no_meta", "bad_annotation", lambda page: page.pop("meta")),
    _changed("negative_width", "geometry_mismatch", _meta(width2=-800)),
    _changed("width_of_300_digits", "geometry_mismatch", _meta(width1=10**299)),
    # paths
    _changed("duplicate_path", "duplicate_path", lambda page: None, beside=True),
    _changed("case_colliding_path", "duplicate_path", _path("Series/Chapter/1.JPG"), beside=True),
    _changed("parent_path", "bad_path", _path("../../etc/passwd")),
    _changed("inner_parent_path", "bad_path", _path("series/../../1.jpg")),
    _changed("absolute_path", "bad_path", _path("/etc/passwd")),
    _changed("drive_path", "bad_path", _path("C:/windows/1.jpg")),
    _changed("backslash_path", "bad_path", _path("series\\..\\..\\1.jpg")),
    _changed("home_path", "bad_path", _path("~/1.jpg")),
    _changed("path_with_crlf", "bad_path", _path("series/1.jpg\r\nHost: evil")),
    _changed("path_with_nul", "bad_path", _path("series/1.jpg\0.png")),
    _changed("path_with_lone_surrogate", "bad_path", _path("series/\ud800.jpg")),
    _changed("decomposed_path", "bad_path", _path("series/e\u0301.jpg")),
    _changed("overlong_name", "bad_path", _path(f"series/{'x' * 300}.jpg")),
    _changed("overlong_path", "bad_path", _path("/".join(["part"] * 300))),
    _changed("empty_path", "bad_path", _path("")),
    _changed("path_is_a_number", "bad_annotation", _path(3)),
    # the text itself
    _text("duplicate_key", "bad_annotation", f'[{SOUND[:-1]}, "frames": []}}]'),
    _text("trailing_comma_in_page", "bad_annotation", f"[{SOUND[:-1]},}}, {SOUND}]"),
    _text("trailing_comma_in_list", "error: annotation file FILE is not JSON (page 1", f"[{SOUND},]"),
    _text("deep_nesting", "bad_annotation", f'[{SOUND[:-1]}, "extra": {DEEP}}}, {SOUND}]'),
    _text("deep_unknown_key", "bad_annotation", f'[{SOUND[:-1]}, "extra": {"[" * 40}{"]" * 40}}}]'),
    _text("unknown_key", "warning: unknown_keys", f'[{SOUND[:-1]}, "score": 1}}]'),
    _text("number_of_5000_digits", "bad_annotation", f"[{SOUND.replace('310', '9' * 5000)}]"),
    _text("latin_1", "bad_annotation", f"[{SOUND.replace('girl', 'gârçon')}]".encode("latin-1")),
    _text("utf_16", "error: annotation file FILE starts with '\\udcff", b"\xff\xfe" + f"[{SOUND}]".encode("utf-16-le")),
    _text("byte_order_mark", "accepted", b"\xef\xbb\xbf" + f"[{SOUND}]".encode()),
    _text("top_level_object", "error: annotation file FILE starts with '{'; ex", SOUND),
    _text("empty_list", "error: annotation file FILE is an empty list; e", "[]"),
    _text("empty_file", "error: annotation file FILE starts with ''; exp", ""),
    _text("cut_off", "error: annotation file FILE is not JSON (page 0", f"[{SOUND[:100]}"),
    _text("page_is_a_number", "bad_annotation", f"[3, {SOUND}]"),
    _text("web_page", "error: annotation file FILE starts with '<'; ex", "<!doctype html><title>Not found</title>"),
)
