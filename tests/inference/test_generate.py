"""The generation stage: complete, deterministic, resumable to the bit."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from diffsensei.config.schema import SamplingConfig
from diffsensei.inference.generate import generate_panels
from tests.training.launched_stages import RUNTIME

SEEDS = (0, 3)
INPUTS = {
    "sdxl_t2i": ("pretrain",),
    "diffsensei_stage1": ("stage1",),
    "diffsensei": ("stage1", "stage2"),
}


def run(
    trained: Any, method: str, benchmark: Path, sampling: SamplingConfig, workspace: Path, output: Path
) -> dict[str, bytes]:
    """What the stage leaves, without its logs."""
    workspace.mkdir(parents=True, exist_ok=True)
    output.mkdir(parents=True)
    generate_panels(
        method=method,  # type: ignore[arg-type]
        model=trained.model,
        sampling=sampling,
        seeds=SEEDS,
        runtime=RUNTIME,
        benchmark=benchmark,
        workspace=workspace,
        output=output,
        **{name: getattr(trained, name) for name in INPUTS[method]},
    )
    files = [path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()]
    return {name: (output / name).read_bytes() for name in files if not name.startswith("logs/")}


@pytest.fixture
def quick(sampling: SamplingConfig) -> SamplingConfig:
    return sampling.replaced(steps=2, batch_size=3)


@pytest.mark.parametrize("method", list(INPUTS))
def test_every_method_draws_every_panel_for_every_seed(
    trained: Any, method: str, requests_folder: Path, quick: SamplingConfig, tmp_path: Path
) -> None:
    content = run(trained, method, requests_folder, quick, tmp_path / "work", tmp_path / "out")
    panels = ("two", "nobody", "wide", "bubbles", "last")
    images = {f"images/{seed}/{panel}.png" for seed in (0, 3) for panel in panels}
    assert set(content) == images | {"generation.json"}
    with Image.open(tmp_path / "out" / "images" / "0" / "wide.png") as image:
        assert (image.mode, image.size) == ("L", (40, 24))
    assert all(content[f"images/0/{panel}.png"] != content[f"images/3/{panel}.png"] for panel in panels)
    assert json.loads(content["generation.json"])["method"] == method
    speed = json.loads((tmp_path / "out" / "logs" / "speed.json").read_text())
    assert speed["panels_drawn"] == 10
    progress = json.loads((tmp_path / "work" / "progress.json").read_text())
    assert progress["done"] == progress["total"] == 10


def test_an_interrupted_run_ends_with_the_same_bits(
    trained: Any, requests_folder: Path, quick: SamplingConfig, tmp_path: Path
) -> None:
    whole = run(trained, "diffsensei", requests_folder, quick, tmp_path / "whole", tmp_path / "out")
    work = tmp_path / "cut"
    kept = work / "images" / "0"
    kept.mkdir(parents=True)
    # A finished batch, a batch of which one image was written, and one that a crash left half written.
    for name in ("two", "nobody", "bubbles"):
        (kept / f"{name}.png").write_bytes(whole[f"images/0/{name}.png"])
    (work / "images" / "3").mkdir()
    (work / "images" / "3" / "two.png").write_bytes(whole["images/3/two.png"])
    (work / "images" / "3" / ".wide.png.17").write_bytes(b"half")
    finished = (kept / "two.png").stat().st_mtime_ns
    assert run(trained, "diffsensei", requests_folder, quick, work, tmp_path / "again") == whole
    assert (kept / "two.png").stat().st_mtime_ns == finished
    assert json.loads((tmp_path / "again" / "logs" / "speed.json").read_text())["panels_drawn"] == 7
    for path in (tmp_path / "again").rglob("*"):
        assert not path.name.startswith(".")


def test_a_missing_input_is_named(trained: Any, requests_folder: Path, quick: SamplingConfig, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected the output of stage stage2, got"):
        generate_panels(
            method="diffsensei",
            model=trained.model,
            sampling=quick,
            seeds=SEEDS,
            runtime=RUNTIME,
            benchmark=requests_folder,
            workspace=tmp_path,
            output=tmp_path,
            stage1=trained.stage1,
        )
