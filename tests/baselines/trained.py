"""What the tests of several methods start from: arguments all training stages share, and a pre-trained UNet."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from diffsensei.config.presets import tiny
from diffsensei.config.schema import Parallelism
from diffsensei.methods import assembly
from diffsensei.training.stages import pretrain
from tests.training.launched_stages import RUNTIME, launch

TEXT = ("text_encoder", "text_encoder_2")


def folders(root: Path) -> dict[str, Path]:
    made = {name: root / name for name in ("workspace", "output")}
    for path in made.values():
        path.mkdir(parents=True, exist_ok=True)
    return made


def common(world: Any, root: Path) -> dict[str, Any]:
    settings = {"seed": 0, "num_processes": 1, "mixed_precision": "no", "bucket_draw": "step", "runtime": RUNTIME}
    settings["buckets"] = tiny().data.buckets
    return settings | {"panels": world.panels, "features": world.features, **folders(root)}


def run_pretrain(world: Any, experiment: Any, root: Path) -> Path:
    """The output of a few steps of text-to-image pre-training."""
    pretrain(
        stage=experiment.training.pretrain,
        unet=experiment.model.unet,
        unet_weights="random",
        caption_drop_rate=0.05,
        **world.named("vae", *TEXT),
        **common(world, root),
    )
    return root / "output"


def assert_resumed_ends_alike(train: Callable[..., None], world: Any, root: Path, again: Path) -> None:
    """``train`` has run to its end in ``root``: from the first of its two checkpoints it gives the same bytes."""
    shutil.copytree(root / "workspace", again / "workspace")
    _, last = sorted((again / "workspace" / "checkpoints").iterdir())
    shutil.rmtree(last)
    train(**common(world, again))
    written, straight = (weights_in(folder / "output") for folder in (again, root))
    assert len(straight) > 0
    assert written == straight
    assert last.is_dir(), "the last steps were trained again"


def assert_two_processes_train_alike(train: partial[None], world: Any, root: Path, again: Path) -> None:
    """``train`` has run in one process in ``root``: two, which hold all weights or a part each, end with the same, to
    rounding."""
    entry = f"{train.func.__module__}:{train.func.__name__}"
    ways: tuple[Parallelism, ...] = ("replicate", "shard")
    for parallelism in ways:
        folder = again / parallelism
        settings = common(world, folder) | {"num_processes": 2, "runtime": RUNTIME.replaced(parallelism=parallelism)}
        launch(folder, 2, [(entry, train.keywords | settings)])
        _assert_close(folder, root)


def assert_recomputing_trains_alike(train: Callable[..., None], world: Any, root: Path, again: Path) -> None:
    """``train`` has run in ``root``: with activations that are computed again it ends with the same, to rounding."""
    in_backward: set[str] = set()

    def seen(module: nn.Module, *_: object) -> None:
        if torch._C._current_graph_task_id() != -1:
            in_backward.add(type(module).__name__)

    hook = register_module_forward_pre_hook(seen)
    train(**common(world, again) | {"runtime": RUNTIME.replaced(gradient_checkpointing="all")})
    hook.remove()
    assert in_backward & {"BasicTransformerBlock", "LlamaMLP"}
    _assert_close(again, root)


def _assert_close(again: Path, root: Path) -> None:
    written, straight = (weights_in(folder / "output") for folder in (again, root))
    assert written.keys() == straight.keys()
    for path, content in straight.items():
        torch.testing.assert_close(load(written[path]), load(content), rtol=1e-3, atol=1e-5)


def weights_in(folder: Path) -> dict[str, bytes]:
    """Every safetensors file below ``folder``."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.safetensors"))}


def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch, *stages: ModuleType) -> None:
    """Let `build_...` of ``stages`` hold networks in bfloat16, on the CPU."""
    for module in (assembly, *stages):
        monkeypatch.setattr(module, "inference_dtype", lambda device: torch.bfloat16)


def assert_drawn_alike(low: dict[str, Image.Image], full: dict[str, Image.Image], tolerance: float) -> None:
    """Bfloat16 gives other pixels, but nearly the same ones: at most ``tolerance`` grey levels apart on average."""
    assert low.keys() == full.keys()
    for name, image in full.items():
        apart = np.abs(np.asarray(image, np.float32) - np.asarray(low[name], np.float32)).mean()
        assert 0 < apart < tolerance, (name, apart)
