"""The command line: a released folder is drawn with as it is, or converted once."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from diffsensei.config.schema import CORRECTED
from diffsensei.foundations.loading import load_llm
from diffsensei.inference.pipeline import DiffSenseiPipeline
from diffsensei.models.unet import load_unet
from diffsensei.released.settings import RELEASED, settings_of
from flows.cli import app

TINY_UNET = (
    "model.unet.block_out_channels=[32, 64]",
    "model.unet.transformer_layers_per_block=[0, 1]",
    "model.unet.layers_per_block=1",
    "model.unet.attention_head_dim=[2, 4]",
    "model.unet.addition_time_embed_dim=8",
)


def invoke(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def story(references: Path, tmp_path: Path) -> Path:
    shutil.copy(references / "a.png", tmp_path / "a.png")
    panel = {
        "box": [0.0, 0.0, 1.0, 1.0],
        "caption": "a girl runs",
        "characters": [{"name": "a", "box": [0.1, 0.2, 0.6, 1.0]}],
        "dialogs": [{"box": [0.6, 0.1, 0.9, 0.4], "text": ""}],
    }
    pages = [{"width": 64, "height": 96, "panels": [panel]}]
    (tmp_path / "story.json").write_text(json.dumps({"characters": {"a": "a.png"}, "pages": pages}))
    return tmp_path / "story.json"


def draw(story: Path, checkpoint: Path, output: Path, *settings: str) -> np.ndarray:
    sets = [word for setting in ("sampling.steps=2", "runtime.num_threads=1", *settings) for word in ("--set", setting)]
    code, out, err = invoke("generate", story, "--checkpoint", checkpoint, "--output", output, *sets)
    assert (code, err) == (0, "")
    assert out.splitlines() == [str(output / "page-001.png")]
    return np.asarray(Image.open(output / "page-001.png"))


@pytest.mark.slow
def test_the_released_folder_and_its_conversion_draw_the_same(release: Any, story: Path, tmp_path: Path) -> None:
    code, out, err = invoke("import", "released", release.folder, "--output", tmp_path / "pipeline")
    assert (code, out, err) == (0, f"{tmp_path / 'pipeline'}\n", "")
    direct = draw(story, release.folder, tmp_path / "direct")
    converted = draw(story, tmp_path / "pipeline", tmp_path / "converted")
    assert np.array_equal(direct, converted)

    lean = Path(shutil.copytree(release.folder / "image_generator", tmp_path / "lean" / "image_generator")).parent
    without = draw(story, lean, tmp_path / "without")
    assert not np.array_equal(direct, without)
    assert np.array_equal(without, draw(story, release.folder, tmp_path / "unblended", "sampling.adapter_blend=0.0"))


def test_the_language_model_may_stay_behind(release: Any, tmp_path: Path) -> None:
    code, _, err = invoke("import", "released", release.folder, "--output", tmp_path / "pipeline", "--no-mllm")
    assert (code, err) == (0, "")
    pipeline = DiffSenseiPipeline.from_pretrained(tmp_path / "pipeline")
    assert pipeline.llm is None
    assert settings_of(pipeline) == RELEASED


def test_a_released_folder_can_be_run_our_way(release: Any, tmp_path: Path) -> None:
    arguments = (release.folder, "--output", tmp_path / "pipeline", "--no-mllm", "--fidelity", "corrected")
    code, _, err = invoke("import", "released", *arguments)
    assert (code, err) == (0, "")
    converted = DiffSenseiPipeline.from_pretrained(tmp_path / "pipeline")
    assert settings_of(converted) == RELEASED.with_fidelity(CORRECTED)


def test_a_checkpoint_becomes_the_output_of_its_stage(release: Any, tmp_path: Path) -> None:
    torch.save({"image_proj": release.resampler, "unet_trained": release.unet}, tmp_path / "ckpt.pth")
    sets = [word for setting in TINY_UNET for word in ("--set", setting)]
    code, out, err = invoke("import", "checkpoint", tmp_path / "ckpt.pth", "--output", tmp_path / "stage1", *sets)
    assert (code, err) == (0, "")
    assert out.split() == [str(tmp_path / "stage1" / name) for name in ("resampler", "unet")]
    conditions = load_unet(tmp_path / "stage1" / "unet").config["manga_conditions"]
    assert (conditions["num_queries"], conditions["mask"]) == (4, "reference")

    arguments = (tmp_path / "ckpt.pth", "--output", tmp_path / "ours", "--fidelity", "corrected", *sets)
    code, _, err = invoke("import", "checkpoint", *arguments)
    assert (code, err) == (0, "")
    assert load_unet(tmp_path / "ours" / "unet").config["manga_conditions"]["mask"] == "exact"


def test_a_language_model_is_joined_with_its_tokenizer(release: Any, tmp_path: Path) -> None:
    mllm = release.folder / "mllm"
    arguments = (mllm / "llm", "--tokenizer", mllm / "tokenizer", "--output", tmp_path / "llm")
    code, out, err = invoke("import", "language-model", *arguments)
    assert (code, out, err) == (0, f"{tmp_path / 'llm'}\n", "")
    assert torch.equal(load_llm(str(tmp_path / "llm")).model.lm_head.weight, release.llm["lm_head.weight"])


@pytest.mark.parametrize("command", ["released", "checkpoint", "storygen", "ms-diffusion"])
def test_what_is_none_is_told_in_one_line(tmp_path: Path, command: str) -> None:
    code, out, err = invoke("import", command, tmp_path / "nowhere", "--output", tmp_path / "out")
    assert (code, out) == (2, "")
    assert err.startswith("error: expected ")
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()
