"""Panels get captions: the same in any batch, once for each crop, after any kill; nothing stale, nothing invented."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import SecretStr

from diffsensei.config.presets import tiny
from diffsensei.config.schema import CaptionerConfig
from diffsensei.data.annotation import captions as module
from diffsensei.data.annotation.captions import caption_panels, crop_panel
from diffsensei.data.annotation.detection import detect_panels
from diffsensei.data.annotation.llava import LlavaCaptioner
from diffsensei.data.records import parse_page
from tests.data.annotation.pages_on_disk import write_pages
from tests.data.annotation.tiny_chat_server import completion, serve_chat
from tests.data.annotation.tiny_llava import write_tiny_llava
from tests.magi.tiny_magi import write_tiny_magi

DATA = tiny().data


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> CaptionerConfig:
    folder = write_tiny_llava(tmp_path_factory.mktemp("llava"))
    return DATA.annotation.captioner.replaced(
        model=str(folder), prompt="describe the panel", max_new_tokens=12, batch_size=4, max_image_side=64
    )


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pages(tmp_path_factory.mktemp("pages") / "pages", count=4, frames=True)


def caption(
    captioner: CaptionerConfig,
    pages: Path,
    work: Path,
    *,
    annotations: Path | None = None,
    name: str = "out",
    key: str = "",
) -> Path:
    (work / "workspace").mkdir(parents=True, exist_ok=True)
    (work / name).mkdir()
    caption_panels(
        captioner=captioner,
        download=DATA.download,
        annotations=annotations or pages,
        download_dir=pages,
        num_threads=1,
        workspace=work / "workspace",
        output=work / name,
        api_key=SecretStr(key) if key else None,
    )
    return work / name


def frames(folder: Path) -> list[dict[str, Any]]:
    return [frame for page in json.loads((folder / "annotations.json").read_text()) for frame in page["frames"]]


def test_batched_equals_single_on_crops_of_many_shapes(llava: CaptionerConfig) -> None:
    rng = np.random.default_rng(0)
    shapes = [(40, 20), (20, 60), (33, 35), (90, 10), (16, 16)]
    crops = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]
    captioner = LlavaCaptioner.load(llava)
    ((_, together),) = captioner.answer([crops])
    alone = [answers[0] for _, answers in captioner.answer([[crop] for crop in crops])]
    without_time = {"seconds": 0.0}
    assert [a.model_copy(update=without_time) for a in together] == [a.model_copy(update=without_time) for a in alone]
    assert len({answer.caption for answer in together}) > 1
    assert {answer.truncated for answer in together} == {True, False}
    assert all(answer.tokens == 12 for answer in together if answer.truncated)


def test_every_panel_is_captioned_and_the_table_says_by_what(
    llava: CaptionerConfig, pages: Path, tmp_path: Path
) -> None:
    out = caption(llava, pages, tmp_path)
    table = pd.read_parquet(out / "captions.parquet")
    assert list(table["caption"]) == [frame["caption"] for frame in frames(out)]
    assert (table["caption"].eq("") == table["reason"].ne("")).all()
    assert table["caption"].ne("").sum() > len(table) / 2
    assert set(table["model"]) == {llava.model}
    assert table["prompt_sha256"].str.len().eq(64).all()
    assert len(pd.read_parquet(out / "logs" / "seconds.parquet")) == len(table)
    for before, after in zip(frames(pages), frames(out), strict=True):
        assert {**before, "caption": after["caption"]} == after


def test_the_same_crop_is_asked_about_once_and_another_prompt_serves_nothing_stale(pages: Path, tmp_path: Path) -> None:
    doubled = tmp_path / "doubled"
    doubled.mkdir()
    raw = json.loads((pages / "annotations.json").read_text())
    (doubled / "annotations.json").write_text(json.dumps([raw[0], {**raw[0], "image_path": "mine/again.png"}]))
    num_panels = len(raw[0]["frames"])
    with serve_chat() as log:
        config = DATA.annotation.captioner.replaced(backend="openai", server=log.url, model="seer", batch_size=3)
        first = caption(config, pages, tmp_path, annotations=doubled, key="secret")
        assert len(log.requests) == num_panels
        assert len(frames(first)) == 2 * num_panels
        again = caption(config, pages, tmp_path, annotations=doubled, name="again")
        assert len(log.requests) == num_panels
        assert frames(again) == frames(first)
        caption(config.replaced(prompt="Other words"), pages, tmp_path, annotations=doubled, name="other")
        assert len(log.requests) == 2 * num_panels
        assert max(max(shape) for shape in log.shapes) <= config.max_image_side
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"secret" not in written


def test_refusals_stay_empty_and_say_why(pages: Path, tmp_path: Path) -> None:
    with serve_chat(completion("", "content_filter"), completion(" ")) as log:
        config = DATA.annotation.captioner.replaced(backend="openai", server=log.url, model="seer", batch_size=1)
        out = caption(config, pages, tmp_path)
    table = pd.read_parquet(out / "captions.parquet")
    assert list(table["reason"][:3]) == ["refused", "empty", ""]
    assert [frame["caption"] for frame in frames(out)][:2] == ["", ""]


def test_captions_that_are_there_and_pages_that_cannot_be_read_stay(tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages", count=2, broken=True, frames=True)
    raw = json.loads((pages / "annotations.json").read_text())
    raw[0]["frames"][0]["caption"] = "By a person."
    raw[1]["frames"] = [{"bbox": [0, 0, 9, 9], "caption": ""}]
    raw[3]["frames"][0]["bbox"] = [900, 0, 950, 20]
    raw.append({"image_path": "mine/odd.png"})
    (pages / "annotations.json").write_text(json.dumps(raw))
    with serve_chat() as log:
        config = DATA.annotation.captioner.replaced(backend="openai", server=log.url, model="seer", batch_size=2)
        out = caption(config, pages, tmp_path)
    after = json.loads((out / "annotations.json").read_text())
    assert after[0]["frames"][0]["caption"] == "By a person."
    assert (after[1], after[4]) == (raw[1], raw[4])
    reasons = pd.read_parquet(out / "captions.parquet")["reason"]
    assert sorted(reason for reason in reasons if reason) == ["empty_crop", "not_downloaded"]


@pytest.mark.parametrize("model", ["/nowhere/llava", "not a reference"])
def test_a_captioner_that_is_not_there_says_what_to_set(model: str, pages: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^data\.annotation\.captioner\.model: .*backend=openai") as error:
        caption(DATA.annotation.captioner.replaced(model=model), pages, tmp_path)
    assert "\n" not in str(error.value)


def test_crops_are_whole_pixels_inside_the_page() -> None:
    page = np.arange(48, dtype=np.uint8).reshape(6, 8)
    crop = crop_panel(page, (-2.0, 1.5, 3.2, 4.0))
    assert crop is not None
    assert crop.tolist() == page[1:4, 0:4].tolist()
    for bbox in ((8.0, 0.0, 9.0, 3.0), (3.0, 2.0, 1.0, 4.0), (float("nan"), 0.0, 1.0, 1.0)):
        assert crop_panel(page, bbox) is None


def test_pages_of_ones_own_become_an_annotation_file(llava: CaptionerConfig, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages", count=3)
    for folder in ("detected", "workspace"):
        (tmp_path / folder).mkdir()
    detect_panels(
        detector=str(write_tiny_magi(tmp_path)),
        download=DATA.download,
        download_dir=pages,
        batch_size=2,
        num_threads=1,
        workspace=tmp_path / "workspace",
        output=tmp_path / "detected",
    )
    by_llava = caption(llava, pages, tmp_path, annotations=tmp_path / "detected", name="by-llava")
    with serve_chat() as log:
        config = llava.replaced(backend="openai", server=log.url, model="seer")
        by_server = caption(config, pages, tmp_path, annotations=tmp_path / "detected", name="by-server")
    for folder in (by_llava, by_server):
        read = [parse_page(raw) for raw in json.loads((folder / "annotations.json").read_text())]
        assert len(read) == 3
        assert all(page.frames for page in read)
    assert all(frame["caption"].startswith("A panel, called ") for frame in frames(by_server))


CALL = """
import sys
from pathlib import Path
import tests.data.annotation.test_captions as test
from diffsensei.data.annotation import captions
from diffsensei.config.schema import CaptionerConfig
captions.PAGES_AT_ONCE = 2
config = CaptionerConfig.model_validate_json(sys.argv[1])
test.caption(config, Path(sys.argv[2]), Path(sys.argv[3]), name=sys.argv[4])
"""


@pytest.mark.slow
def test_killed_anywhere_and_resumed_equals_uninterrupted(
    llava: CaptionerConfig, pages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGES_AT_ONCE", 2)
    whole = caption(llava, pages, tmp_path / "whole")
    work = tmp_path / "killed"
    journal = work / "workspace" / "captions.jsonl"
    for stop_at in (1, 6, 12):
        command = [sys.executable, "-c", CALL, llava.model_dump_json(), str(pages), str(work), f"out-{stop_at}"]
        process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
        deadline = time.monotonic() + 120
        while process.poll() is None and (not journal.exists() or journal.read_bytes().count(b"\n") < stop_at):
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with journal.open("ab") as file:
        file.write(b'{"key": "torn')
    resumed = caption(llava, pages, work)
    for name in ("annotations.json", "captions.parquet"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes()
    keys = [json.loads(line)["key"] for line in journal.read_bytes().splitlines() if not line.endswith(b"torn")]
    assert len(keys) == len(set(keys)), "no crop is captioned twice"
