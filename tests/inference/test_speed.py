"""Compiled blocks draw what plain ones do, and a size of panels is compiled once."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch._dynamo.utils import counters

from diffsensei.config.schema import SamplingConfig
from diffsensei.inference.request import PanelRequest, read_requests
from diffsensei.inference.speed import speed_up
from diffsensei.methods.registry import OwnMethod, build_method
from tests.training.launched_stages import RUNTIME

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs the C++ compiler g++")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a CUDA GPU")


def build(trained: Any, name: str, device: str = "cpu") -> OwnMethod:
    outputs = {stage: getattr(trained, stage) for stage in ("pretrain", "stage1", "stage2")}
    return build_method(name, trained.foundations, outputs, torch.device(device))


def square(folder: Path) -> list[PanelRequest]:
    return [panel for panel in read_requests(folder / "panels.jsonl") if (panel.height, panel.width) == (32, 32)]


def drawn(method: OwnMethod, panels: list[PanelRequest], folder: Path, sampling: SamplingConfig) -> np.ndarray:
    images: dict[str, Image.Image] = dict(method.generate([panels], folder, sampling))
    return np.stack([np.asarray(images[panel.panel_id], np.int16) for panel in panels])


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("name", ["sdxl_t2i", "diffsensei"])
def test_compiled_blocks_draw_the_same_and_the_next_batch_of_a_size_compiles_nothing(
    trained: Any, name: str, requests_folder: Path, sampling: SamplingConfig
) -> None:
    panels = square(requests_folder)
    first, second = panels[:2], panels[2:]
    assert len(first) == len(second) == 2
    plain = drawn(build(trained, name), panels, requests_folder, sampling.replaced(batch_size=2))
    torch._dynamo.reset()
    counters.clear()
    method = build(trained, name)
    speed_up(method, RUNTIME.replaced(compile_drawing="blocks"))
    one = drawn(method, first, requests_folder, sampling)
    graphs = counters["stats"]["unique_graphs"]
    assert graphs > 0
    other = drawn(method, second, requests_folder, sampling)
    assert counters["stats"]["unique_graphs"] == graphs
    assert np.abs(np.concatenate([one, other]) - plain).max() <= 1


def test_graphs_without_a_gpu_are_refused(trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match=r"expected a CUDA device, found none; set runtime\.cuda_graphs=false"):
        speed_up(build(trained, "sdxl_t2i"), RUNTIME.replaced(cuda_graphs=True))


@needs_gpu
@pytest.mark.parametrize("name", ["sdxl_t2i", "diffsensei"])
def test_recorded_steps_draw_the_same_bits(
    trained: Any, name: str, requests_folder: Path, sampling: SamplingConfig
) -> None:
    panels, longer = square(requests_folder), sampling.replaced(steps=6)
    plain = drawn(build(trained, name, "cuda"), panels, requests_folder, longer)
    method = build(trained, name, "cuda")
    speed_up(method, RUNTIME.replaced(cuda_graphs=True))
    np.testing.assert_array_equal(drawn(method, panels, requests_folder, longer), plain)
