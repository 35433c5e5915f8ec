"""SIGKILL at random moments of stitching and of cutting, then another attempt: the same files as without."""

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diffsensei.config.schema import SplitConfig
from diffsensei.data.images import encode_png
from diffsensei.data.panels import cutting
from diffsensei.data.panels.cutting import cut_panels
from diffsensei.data.tables import BOX, write_table
from diffsensei.data.validation import pages as pages_module
from diffsensei.data.validation.pages import _stitch_all
from diffsensei.data.validation.stitch import StitchTask

KILLS = 15
"""Of each of the two stages."""
NUM_PAGES, HEIGHT, WIDTH = 16, 300, 450
Attempt = Callable[[Path, Path], None]


def page(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)


@pytest.fixture(scope="module")
def validated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("validated")
    (folder / "pages").mkdir()
    rows: dict[str, list[dict[str, object]]] = {"pages": [], "panels": [], "characters": [], "dialogs": []}
    for number in range(NUM_PAGES):
        page_id = f"{number:016x}"
        (folder / "pages" / f"{page_id}.png").write_bytes(encode_png(page(number)))
        about = {"image_path": f"s/c/{number}.png", "series": "s", "page_index": number, "image_sha256": page_id}
        about |= {"height": HEIGHT, "width": WIDTH, "dhash": f"{number * 0x0123456789ABCDEF % 2**64:016x}"}
        about |= {"chroma": 0.0, "rescaled": False, "sha256_1": "", "sha256_2": ""}
        rows["pages"].append({"page_id": page_id, **about})
        for index in range(4):
            key = {"page_id": page_id, "panel_id": f"{page_id}-{index}", "panel_index": index}
            frame = [100.0 * index, 0.0, 100.0 * index + 95, 290.0]
            rows["panels"].append(key | dict(zip(BOX, frame, strict=True)) | {"caption": "a panel", "dhash": ""})
            rows["characters"].append(
                key | dict(zip(BOX, frame, strict=True)) | {"box_index": 0, "character_id": "0", "type": 0}
            )
    rows["dialogs"].append(key | dict(zip(BOX, frame, strict=True)) | {"box_index": 0})
    for name, records in rows.items():
        write_table(name, pd.DataFrame(records), folder)
    return folder


def cut_once(validated: Path, workspace: Path, output: Path) -> None:
    cutting.MAX_SHARD_PAGES = 2
    split = SplitConfig(eval_pages_per_series=2, min_panels=3)
    with ThreadPoolExecutor(1) as executor:
        cut_panels(split=split, validated=validated, workspace=workspace, output=output, executor=executor)


def stitch_once(validated: Path, workspace: Path, output: Path) -> None:
    pages_module.PAGES_PER_TASK = 2
    files = sorted((validated / "pages").iterdir())
    tasks = [StitchTask(path.stem, (path, path), (WIDTH, WIDTH), 0.0) for path in files]
    (output / "pages").mkdir()
    with ThreadPoolExecutor(1) as executor:
        outcomes = _stitch_all(tasks, output / "pages", 40.0, executor, workspace)
    (output / "outcomes.txt").write_text("\n".join(map(repr, outcomes.values())))


def in_a_fork(attempt: Attempt, workspace: Path, output: Path, kill_after_s: float | None) -> bool:
    """Whether the attempt came to its end before it was killed."""
    workspace.mkdir(exist_ok=True)
    output.mkdir()
    process = os.fork()
    if process == 0:
        try:
            attempt(workspace, output)
            os._exit(0)
        finally:
            os._exit(1)
    if kill_after_s is not None:
        deadline = time.monotonic() + kill_after_s
        while time.monotonic() < deadline:
            if os.waitpid(process, os.WNOHANG) != (0, 0):
                return True
            time.sleep(0.001)
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    return os.waitstatus_to_exitcode(status) == 0


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("stage", [cut_once, stitch_once], ids=["cutting", "stitching"])
def test_killed_at_random_moments(
    validated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: Callable[[Path, Path, Path], None]
) -> None:
    attempt = partial(stage, validated)
    began = time.monotonic()
    assert in_a_fork(attempt, tmp_path / "straight workspace", tmp_path / "straight", None)
    duration = time.monotonic() - began
    straight = files(tmp_path / "straight")

    rng = np.random.default_rng(0)
    kills = runs = resumed = 0
    while kills < KILLS:
        workspace = tmp_path / f"workspace {runs}"
        for attempts in range(4):
            output = tmp_path / f"output {runs} {attempts}"
            if in_a_fork(
                attempt, workspace, output, float(rng.uniform(0.05, 1.0)) * duration if attempts < 3 else None
            ):
                break
            kills += 1
        resumed += attempts > 0
        assert files(output) == straight
        runs += 1
    assert resumed
