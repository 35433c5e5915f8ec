"""Worlds on disk: every url is served as its name promises, and the ground truth tells what is wrong."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from diffsensei.config.schema import SyntheticSource
from diffsensei.data.records import parse_page
from diffsensei.data.synthetic.defects import DEFECTS
from diffsensei.data.synthetic.page import SYNTHETIC_HOST, draw_page
from diffsensei.data.synthetic.world import draw_world
from diffsensei.progress import Progress

SOURCE = SyntheticSource(num_series=2, pages_per_series=3, page_height=120, seed=2)


def _draw(source: SyntheticSource, folder: Path, workers: int = 0) -> Path:
    folder.mkdir()
    progress = Progress(folder.parent / "progress.json", "draw", source.num_series * source.pages_per_series)
    if workers:
        with ThreadPoolExecutor(workers) as executor:
            draw_world(source, folder, progress, executor)
    else:
        draw_world(source, folder, progress)
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _draw(SOURCE, tmp_path_factory.mktemp("sound") / "world")


@pytest.fixture(scope="module")
def defective(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = SyntheticSource(num_series=8, pages_per_series=6, page_height=96, seed=2, defect_rate=0.8)
    return _draw(source, tmp_path_factory.mktemp("defective") / "world")


def _load(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    return json.loads((folder / "annotations.json").read_text()), json.loads((folder / "world.json").read_text())


def _served(folder: Path, url: str) -> Path:
    prefix = f"https://{SYNTHETIC_HOST}/"
    assert url.startswith(prefix)
    return folder / "served" / url.removeprefix(prefix)


def _named_digest(url: str) -> str:
    return url.rpartition("-")[2].removesuffix(".png")


def _files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_sound_world_serves_what_its_urls_promise(world: Path) -> None:
    pages, _ = _load(world)
    assert len(pages) == 6
    for index, raw in enumerate(pages):
        page = parse_page(raw)
        halves = []
        for url in (page.meta.url1, page.meta.url2):
            data = _served(world, url).read_bytes()
            assert hashlib.sha256(data).hexdigest() == _named_digest(url)
            halves.append(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))
        drawn = draw_page(SOURCE, *divmod(index, 3))
        assert np.array_equal(np.concatenate(halves, axis=1), drawn.image), "PNG is lossless"
        assert page.frames == drawn.annotation.frames
    assert len(list((world / "served").rglob("*.png"))) == 12


def test_the_ground_truth_names_casts_and_states(world: Path) -> None:
    pages, truth = _load(world)
    assert SyntheticSource(**truth["source"]) == SOURCE
    casts = {member["series"] * 16 + member["index"] for series in truth["series"] for member in series["cast"]}
    for raw, page in zip(pages, truth["pages"], strict=True):
        assert page["image_path"] == raw["image_path"]
        assert page["defect"] is None
        for frame, panel in zip(raw["frames"], page["panels"], strict=True):
            assert panel["box"] == frame["bbox"]
            assert [c["box"] for c in panel["characters"]] == [c["bbox"] for c in frame["characters"]]
            assert {c["identity"] for c in panel["characters"]} <= casts
            assert [c["type"] for c in panel["characters"]] == [c["type"] for c in frame["characters"]]


def test_the_same_world_on_any_number_of_workers(world: Path, tmp_path: Path) -> None:
    assert _files(_draw(SOURCE, tmp_path / "again", workers=3)) == _files(world)


def test_a_defective_world_says_what_is_wrong_where(defective: Path) -> None:
    pages, truth = _load(defective)
    kinds = set()
    for raw, page in zip(pages, truth["pages"], strict=True):
        defect = page["defect"] or {"kind": "none"}
        kind = defect["kind"]
        kinds.add(kind)
        if kind != "none":
            assert (defect["level"], defect["verdict"]) == (DEFECTS[kind].level, DEFECTS[kind].verdict)
        for half, name in enumerate(("url1", "url2")):
            if name not in raw["meta"]:
                assert kind == "missing_url2"
                continue
            path = _served(defective, raw["meta"][name])
            if not path.exists():
                assert (kind, defect["half"]) == ("dead_url", half)
                continue
            honest = hashlib.sha256(path.read_bytes()).hexdigest() == _named_digest(raw["meta"][name])
            lied = kind in ("truncated_image", "wrong_image", "not_an_image") and defect["half"] == half
            assert honest != lied
        assert (raw["image_path"] != page["image_path"]) == (kind in ("path_traversal", "duplicate_path"))
    assert len(kinds) > 12


def test_a_defect_leaves_other_pages_alone(tmp_path: Path, world: Path) -> None:
    pages, truth = _load(_draw(SOURCE.replaced(defect_rate=0.5), tmp_path / "half"))
    sound, _ = _load(world)
    spared = [i for i, page in enumerate(truth["pages"]) if page["defect"] is None]
    assert 0 < len(spared) < 6
    assert all(pages[i] == sound[i] for i in spared)
