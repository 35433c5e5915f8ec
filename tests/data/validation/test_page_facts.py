"""Annotation entries as the internet may hold them: each ends in a verdict, the run goes on, the counts add up."""

import copy
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsensei.config.presets import tiny
from diffsensei.data.halves import Half, write_halves
from diffsensei.data.images import encode_png
from diffsensei.data.objects import Objects
from diffsensei.data.tables import measure_boxes
from diffsensei.data.validation.page_facts import page_facts
from diffsensei.data.validation.pages import validate_pages

NAN, INF = float("nan"), float("inf")
URLS = ("https://h/1", "https://h/2")


def entry(name: str, change: Callable[[dict], Any] = lambda page: None) -> dict[str, Any]:
    """A sound page of one panel, one character and one dialog, then changed."""
    panel = {
        "bbox": [10, 10, 150, 90],
        "caption": "a girl looks up",
        "characters": [{"id": 0, "bbox": [20, 20, 60, 60], "type": 0}],
        "dialogs": [{"bbox": [70, 20, 120, 50]}],
    }
    meta = {"url1": URLS[0], "url2": URLS[1], "width1": 80, "width2": 80}
    page = {"image_path": f"s/{name}.jpg", "frames": [panel], "meta": meta}
    change(page)
    return page


def on_frame(**changes: Any) -> Callable[[dict], Any]:
    return lambda page: page["frames"][0].update(changes)


def on_character(**changes: Any) -> Callable[[dict], Any]:
    return lambda page: page["frames"][0]["characters"][0].update(changes)


def on_dialog(box: list[float]) -> Callable[[dict], Any]:
    return lambda page: page["frames"][0]["dialogs"][0].update(bbox=box)


HOSTILE: dict[str, tuple[Callable[[dict], Any], str, str]] = {
    "no frames key": (lambda page: page.pop("frames"), "page", "bad_annotation"),
    "frames is a string": (lambda page: page.update(frames="many"), "page", "bad_annotation"),
    "empty frames": (lambda page: page.update(frames=[]), "page", "no_panels"),
    "frame is null": (lambda page: page["frames"].append(None), "page", "bad_annotation"),
    "box of three": (on_frame(bbox=[1, 2, 3]), "page", "bad_annotation"),
    "box of words": (on_frame(bbox=["a", 2, 3, 4]), "page", "bad_annotation"),
    "box is null": (on_frame(bbox=None), "page", "bad_annotation"),
    "caption is a number": (on_frame(caption=7), "page", "bad_annotation"),
    "caption is null": (on_frame(caption=None), "page", "bad_annotation"),
    "no meta": (lambda page: page.update(meta={}), "page", "bad_annotation"),
    "url is a number": (lambda page: page["meta"].update(url1=5), "page", "bad_annotation"),
    "width is a word": (lambda page: page["meta"].update(width1="wide"), "page", "bad_annotation"),
    "width is negative": (lambda page: page["meta"].update(width2=-80), "page", "geometry_mismatch"),
    "width is astronomic": (lambda page: page["meta"].update(width2=10**300), "page", "geometry_mismatch"),
    "path is a number": (lambda page: page.update(image_path=3), "page", "bad_annotation"),
    "path with NUL": (lambda page: page.update(image_path="s/\0.jpg"), "page", "bad_path"),
    "path with a lone surrogate": (lambda page: page.update(image_path="s/\ud800.jpg"), "page", "bad_path"),
    "path that only differs in case": (lambda page: page.update(image_path="S/SOUND.jpg"), "page", "duplicate_path"),
    "unknown url": (lambda page: page["meta"].update(url1="https://h/9"), "page", "not_downloaded"),
    "panel at infinity": (on_frame(bbox=[0, 0, INF, 50]), "panel", "panel_not_finite"),
    "panel far away": (on_frame(bbox=[1e9, 1e9, 2e9, 2e9]), "panel", "panel_outside_page"),
    "panel of no area": (on_frame(bbox=[10, 10, 10, 90]), "panel", "panel_inverted"),
    "tiny panel": (on_frame(bbox=[10, 10, 14, 90]), "panel", "panel_too_small"),
    "blank caption": (on_frame(caption=" \t\n "), "panel", "empty_caption"),
    "endless caption": (on_frame(caption="word " * 200_000), "panel", "endless_caption"),
    "caption with NUL": (on_frame(caption="a\0b"), "panel", "control_characters"),
    "caption with a lone surrogate": (on_frame(caption="a\udfffb"), "panel", "control_characters"),
    "caption refuses": (on_frame(caption="I'm sorry, but I can't"), "panel", "refusal_caption"),
    "character nowhere": (on_character(bbox=[NAN, 0, 9, 9]), "character", "character_not_finite"),
    "character in the next panel": (on_character(bbox=[151, 20, 159, 60]), "character", "character_outside_panel"),
    "character of type 7": (on_character(type=7), "character", "unknown_type"),
    "character of type 10**12": (on_character(type=10**12), "character", "unknown_type"),
    "dialog upside down": (on_dialog([70, 50, 120, 20]), "dialog", "dialog_inverted"),
    "dialog off the page": (on_dialog([100, 20, 190, 50]), "dialog", "dialog_outside_page"),
}
HARMLESS: dict[str, Callable[[dict], Any]] = {
    "sound": lambda page: None,
    "id is a word": on_character(id="主人公 🦊 \u202e"),
    "long caption": on_frame(caption="word " * 1_900),
    "right to left": on_frame(caption="\u05e9\u05dc\u05d5\u05dd"),
    "unknown keys": lambda page: page.update(extra={"deep": [[[1]]]}),
    "box a pixel outside": on_frame(bbox=[-1, 10, 150, 91.5]),
}


def test_every_hostile_entry_gets_its_verdict(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("downloaded", "workspace", "output")}
    for folder in folders.values():
        folder.mkdir()
    objects = Objects(folders["downloaded"] / "objects")
    halves = []
    for seed, url in enumerate(URLS):
        pixels = np.random.default_rng(seed).integers(0, 256, (100, 80), dtype=np.uint8)
        digest = objects.write(encode_png(pixels))
        halves.append(Half(url=url, state="ok", sha256=digest, width=80, height=100))
    write_halves(halves, folders["downloaded"] / "halves.parquet")
    names = [*HARMLESS, *HOSTILE]
    raw = [entry(name, HARMLESS[name] if name in HARMLESS else HOSTILE[name][0]) for name in names]
    (folders["downloaded"] / "annotations.json").write_text(json.dumps(raw))
    data = tiny().data
    with ThreadPoolExecutor(1) as executor:
        validate_pages(
            validation=data.validation.replaced(max_quarantine_rate=1.0),
            download=data.download,
            annotations=folders["downloaded"],
            download_dir=folders["downloaded"],
            workspace=folders["workspace"],
            output=folders["output"],
            executor=executor,
        )
    rows = pd.read_parquet(folders["output"] / "quarantine.parquet")
    verdicts = {names[row.entry]: (row.level, row.reason) for row in rows.itertuples()}
    assert verdicts == {name: (level, reason) for name, (_, level, reason) in HOSTILE.items()}
    assert len(rows) == len(HOSTILE)
    assert rows["evidence"].str.len().between(1, 300).all()
    counts = json.loads((folders["output"] / "counts.json").read_text())
    assert counts["page"]["input"] == len(names)
    assert counts["page"]["missing"] == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
PLACES = (
    (),
    ("image_path",),
    ("frames",),
    ("frames", 0),
    ("frames", 0, "bbox"),
    ("frames", 0, "bbox", 2),
    ("frames", 0, "caption"),
    ("frames", 0, "characters"),
    ("frames", 0, "characters", 0, "id"),
    ("frames", 0, "dialogs", 0),
    ("meta",),
    ("meta", "url2"),
    ("meta", "width1"),
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(place=st.sampled_from(PLACES), value=JSON)
def test_any_json_anywhere(place: tuple, value: Any) -> None:
    """Nothing but a verdict comes of it, and what was accepted can be measured."""
    raw: Any = copy.deepcopy(entry("fuzz"))
    if place:
        target = raw
        for step in place[:-1]:
            target = target[step]
        target[place[-1]] = value
    else:
        raw = value
    annotated = page_facts([raw, entry("sound")], {})
    facts, flat = annotated.facts, annotated.tables
    assert facts["entry"].tolist() == [0, 1]
    assert facts["id"][1] == facts["page_id"][1]
    sizes = facts[["page_id"]].assign(height=100, width=160).drop_duplicates("page_id")
    for table in flat.values():
        measure_boxes(table, sizes, tolerance_px=2)
    if facts["id"][0] == facts["page_id"][0]:
        assert facts["num_panels"][0] == (flat["panels"]["entry"] == 0).sum()
        boxes = (flat["characters"]["entry"] == 0).sum() + (flat["dialogs"]["entry"] == 0).sum()
        assert facts["num_boxes"][0] == boxes
