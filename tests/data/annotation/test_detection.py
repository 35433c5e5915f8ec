"""Pages get Magi's frames: the same in any batch, after any kill; what cannot be read stays as it was."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from diffsensei.config.presets import tiny
from diffsensei.data.annotation import detection
from diffsensei.data.annotation.detection import detect_panels
from diffsensei.data.records import parse_page
from tests.data.annotation.pages_on_disk import write_pages
from tests.magi.tiny_magi import write_tiny_magi

DOWNLOAD = tiny().data.download


@pytest.fixture(scope="module")
def magi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_magi(tmp_path_factory.mktemp("magi"))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pages(tmp_path_factory.mktemp("pages") / "imported", count=7, broken=True)


def detect(magi: Path, pages: Path, work: Path, *, name: str = "out", batch_size: int = 4) -> Path:
    (work / "workspace").mkdir(parents=True, exist_ok=True)
    (work / name).mkdir()
    detect_panels(
        detector=str(magi),
        download=DOWNLOAD,
        download_dir=pages,
        batch_size=batch_size,
        num_threads=1,
        workspace=work / "workspace",
        output=work / name,
    )
    return work / name


def annotations(folder: Path) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads((folder / "annotations.json").read_text())
    return loaded


def test_every_readable_page_has_frames_inside_it(magi: Path, pages: Path, tmp_path: Path) -> None:
    out = detect(magi, pages, tmp_path)
    before, after = annotations(pages), annotations(out)
    assert [page["image_path"] for page in after] == [page["image_path"] for page in before]
    assert after[1:3] == before[1:3], "a page that cannot be read keeps its state"
    for raw in [after[0], *after[3:]]:
        page = parse_page(raw)
        assert page.frames
        assert all(frame.caption == "" for frame in page.frames)
        assert all(0 <= x <= raw["meta"]["width"] for frame in page.frames for x in frame.bbox[::2])
    record = json.loads((out / "detection.json").read_text())
    counts = record["counts"]
    assert (counts["pages"], counts["pages_detected"]) == (9, 7)
    assert counts["pages_not_read"] == {"not_downloaded": 1, "truncated_image": 1}
    assert counts["panels"] == sum(len(page["frames"]) for page in after)
    assert len(record["detector_sha256"]) == 64
    assert record["thresholds"]["panel"] == 0.2
    progress = json.loads((tmp_path / "workspace" / "progress.json").read_text())
    assert progress["done"] == progress["total"] == 9


def test_batches_do_not_change_what_is_found(magi: Path, pages: Path, tmp_path: Path) -> None:
    one, many = (annotations(detect(magi, pages, tmp_path / str(size), batch_size=size)) for size in (1, 8))
    for alone, together in zip(one, many, strict=True):
        assert len(alone["frames"]) == len(together["frames"])
        for a, b in zip(alone["frames"], together["frames"], strict=True):
            assert a["bbox"] == pytest.approx(b["bbox"], abs=1e-4 * alone["meta"]["width"])
            assert [c["id"] for c in a["characters"]] == [c["id"] for c in b["characters"]]
            assert len(a["dialogs"]) == len(b["dialogs"])


def test_pages_with_frames_and_pages_that_do_not_parse_stay_as_they_are(magi: Path, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages", count=2, frames=True)
    raw = [*annotations(pages), {"image_path": "mine/odd.png", "frames": "none"}]
    (pages / "annotations.json").write_text(json.dumps(raw))
    assert annotations(detect(magi, pages, tmp_path)) == raw


def test_finished_shards_are_not_read_again(
    magi: Path, pages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = detect(magi, pages, tmp_path)
    monkeypatch.setattr(detection, "load_magi", None)
    again = detect(magi, pages, tmp_path, name="again")
    assert (again / "annotations.json").read_bytes() == (first / "annotations.json").read_bytes()


def test_a_detector_that_is_not_there_says_what_to_set(pages: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"^data\.annotation\.detector: expected Magi v1 .*; set data\.annotation"
    ) as error:
        detect(tmp_path / "nowhere", pages, tmp_path)
    assert "\n" not in str(error.value)


CALL = """
import sys
from pathlib import Path
import tests.data.annotation.test_detection as test
from diffsensei.data.annotation import detection
detection.PAGES_PER_SHARD = 1
work = Path(sys.argv[3])
test.detect(Path(sys.argv[1]), Path(sys.argv[2]), work, name=sys.argv[4])
"""


@pytest.mark.slow
def test_killed_anywhere_and_resumed_equals_uninterrupted(
    magi: Path, pages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detection, "PAGES_PER_SHARD", 1)
    whole = detect(magi, pages, tmp_path / "whole")
    work = tmp_path / "killed"
    for stop_at in (1, 4, 6):
        command = [sys.executable, "-c", CALL, str(magi), str(pages), str(work), f"out-{stop_at}"]
        process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
        deadline = time.monotonic() + 120
        while process.poll() is None and len(list(work.glob("workspace/detected-*/*.json"))) < stop_at:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    resumed = detect(magi, pages, work)
    for name in ("annotations.json", "detection.json"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes()
