"""A benchmark drawn by a bundle: its own pipeline, the seeds asked for, and only a bundle that is whole."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffsensei.config.presets import tiny
from diffsensei.inference.request import read_requests
from diffsensei.release.bundle import load_bundled_pipeline
from diffsensei.release.draw import draw_bundle
from tests.training.launched_stages import RUNTIME

SAMPLING = tiny().sampling.replaced(steps=2)


def _draw(bundle: Path, folder: Path) -> Path:
    benchmark, workspace, output = (folder / name for name in ("benchmark", "work", "out"))
    shutil.copytree(bundle / "sample", benchmark)
    workspace.mkdir()
    output.mkdir()
    draw_bundle(
        sampling=SAMPLING,
        seeds=(0, 3),
        runtime=RUNTIME,
        bundle=bundle,
        benchmark=benchmark,
        workspace=workspace,
        output=output,
    )
    return output


def test_a_bundle_draws_a_benchmark_by_itself(bundle: Path, tmp_path: Path) -> None:
    output = _draw(bundle, tmp_path)
    said = json.loads((output / "generation.json").read_text())
    assert (said["method"], said["seeds"], said["num_panels"]) == ("diffsensei", [0, 3], 1)
    images = [np.asarray(Image.open(output / "images" / str(seed) / "sample.png")) for seed in (0, 3)]
    assert not np.array_equal(*images), "every seed has its own noise"
    requests = read_requests(bundle / "sample" / "panels.jsonl")
    method = load_bundled_pipeline(bundle).as_method()
    reseeded = [requests[0].replaced(seed=_seed_of(requests[0].seed))]
    ((_, expected),) = method.generate([reseeded], bundle / "sample", SAMPLING)
    np.testing.assert_array_equal(images[0], np.asarray(expected))


def _seed_of(seed: int) -> int:
    from diffsensei.seeding import stream_seed

    return stream_seed(0, "panel", seed)


def test_a_bundle_that_was_changed_is_refused(bundle: Path, tmp_path: Path) -> None:
    changed = tmp_path / "bundle"
    shutil.copytree(bundle, changed)
    (changed / "README.md").write_text("other")
    with pytest.raises(ValueError, match=r"README\.md has sha256"):
        _draw(changed, tmp_path / "drawing")
