"""Folders: content decides, order is natural, and no link leads out."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from diffsensei.data.images import encode_png
from diffsensei.data.refusal import Refusal
from diffsensei.data.sources.folders import offer_folder, read_inside

PNG = encode_png(np.zeros((4, 4), np.uint8))


def put(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def reason(offered) -> str:
    try:
        offered.read(1000)
    except Refusal as refusal:
        return refusal.reason
    return "ok"


def test_content_decides_and_the_rest_is_counted(tmp_path: Path) -> None:
    root = put(
        tmp_path / "a",
        {
            "ch2/10.png": PNG, "ch2/9.png": PNG, "ch10/scan": PNG, "notes.txt": b"hello", ".hidden.png": PNG,
            "Thumbs.db": b"x", "ComicInfo.xml": b"<x/>", "lie.jpg": b"text",
        },
    )  # fmt: skip
    skipped: Counter[str] = Counter()
    found = {image.name: reason(image) for image in offer_folder(root, skipped)}
    assert list(found) == ["ch2/9.png", "ch2/10.png", "ch10/scan", "lie.jpg"]
    assert set(found.values()) == {"ok"}, "lie.jpg is judged when it is decoded"
    assert skipped == {"no image": 1, "hidden or system file": 3}


def test_links_that_lead_out_are_refused(tmp_path: Path) -> None:
    root = put(tmp_path / "a", {"in.png": PNG})
    put(tmp_path, {"secret.png": PNG, "b/1.png": PNG})
    os.symlink(tmp_path / "secret.png", root / "out.png")
    os.symlink(root / "in.png", root / "same.png")
    os.symlink(tmp_path / "b", root / "folder")
    os.symlink("loop.png", root / "loop.png")
    os.mkfifo(root / "pipe.png")
    reasons = Counter(reason(image) for image in offer_folder(root, Counter()))
    assert reasons == {"ok": 2, "outside_folder": 1, "link_to_folder": 1, "unreadable": 1, "not_a_file": 1}


@pytest.mark.parametrize(
    ("name", "limit", "why"),
    [("../b", 9, "outside_folder"), ("none", 9, "no_such_file"), ("in.png", 3, "too_large"), ("a\0", 9, "unreadable")],
)
def test_reading_inside_a_folder_says_why_not(tmp_path: Path, name: str, limit: int, why: str) -> None:
    put(tmp_path, {"a/in.png": b"1234", "b": b"x"})
    with pytest.raises(Refusal) as caught:
        read_inside(tmp_path / "a", name, limit)
    assert caught.value.reason == why
