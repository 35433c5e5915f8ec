"""The stages of the paper with weights in parts: losses and files as with whole weights in each process."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.training.launched_stages import RUNTIME, launch
from tests.training.test_stages import IMAGES, TEXT, common

pytestmark = pytest.mark.slow

MODULE = "diffsensei.training.stages"
STAGES = ("pretrain", "stage1", "stage1_lora", "stage2")


def calls(world: Any, experiment: Any, root: Path, **more: Any) -> list[tuple[str, dict[str, Any]]]:
    """Pre-training with an average, stage 1 of all weights and of LoRA, stage 2; two passes a process and step."""
    training, model, data = experiment.training, experiment.model, experiment.data

    def arguments(name: str, stage: Any, **own: Any) -> dict[str, Any]:
        shared = common(world, root / name, stage=stage.replaced(micro_batch_size=(1,)), num_processes=2)
        return shared | world.named(*TEXT) | own | more

    images = {**world.named(*IMAGES), "fidelity": model.fidelity, "conditioning": data.conditioning}
    first = images | {"ip_adapter": "none", "pretrain": root / "pretrain" / "output"}
    first |= {"resampler": model.resampler, "layout": model.layout}
    second = images | world.named("llm") | {"adapter": model.adapter}
    second["stage1"] = root / "stage1" / "output"
    pretrain = {"unet": model.unet, "unet_weights": "random", "caption_drop_rate": 0.05}
    lora = training.stage1.replaced(trained="lora", lora_rank=2)
    return [
        (f"{MODULE}:pretrain", arguments("pretrain", training.pretrain.replaced(ema_decay=0.5), **pretrain)),
        (f"{MODULE}:stage1", arguments("stage1", training.stage1, **first)),
        (f"{MODULE}:stage1", arguments("stage1_lora", lora, **first)),
        (f"{MODULE}:stage2", arguments("stage2", training.stage2, **second)),
    ]


@pytest.fixture(scope="module")
def whole(world: Any, experiment: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("replicate")
    launch(root, 2, calls(world, experiment, root))
    return root


@pytest.fixture(scope="module")
def parts(world: Any, experiment: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shard")
    launch(root, 2, calls(world, experiment, root, runtime=RUNTIME.replaced(parallelism="shard")))
    return root


def tensors(folder: Path) -> dict[str, Tensor]:
    return {
        f"{path.relative_to(folder)}:{name}": tensor
        for path in sorted(folder.rglob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def log(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "logs" / "metrics.jsonl").read_text().splitlines()]


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if "events" not in path.name)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_gives_the_same_losses_and_files(whole: Path, parts: Path, stage: str) -> None:
    one, other = parts / stage / "output", whole / stage / "output"
    assert files(one) == files(other)
    for ours, expected in zip(log(one), log(other), strict=True):
        for name in ("train/loss", "optim/grad_norm"):
            assert ours[name] == pytest.approx(expected[name], rel=1e-4)
    expected = tensors(other)
    assert tensors(one).keys() == expected.keys()
    for name, tensor in tensors(one).items():
        assert tensor.dtype == expected[name].dtype
        torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=1e-5)


def test_in_bfloat16_the_trained_weights_stay_in_float32(
    whole: Path, world: Any, experiment: Any, tmp_path: Path
) -> None:
    """Gathered in bfloat16, updated in float32: losses near those in float32, files and checkpoints as precise."""
    launch(
        tmp_path,
        2,
        calls(world, experiment, tmp_path, runtime=RUNTIME.replaced(parallelism="shard"), mixed_precision="bf16"),
    )
    for stage in STAGES:
        for ours, expected in zip(log(tmp_path / stage / "output"), log(whole / stage / "output"), strict=True):
            assert ours["train/loss"] == pytest.approx(expected["train/loss"], rel=0.05)
        written = tensors(tmp_path / stage / "output") | tensors(tmp_path / stage / "workspace" / "checkpoints")
        assert {tensor.dtype for tensor in written.values()} == {torch.float32}
