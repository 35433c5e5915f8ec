"""The generation stage: one method draws the whole benchmark, once per evaluation seed."""

import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Unpack

import torch
from PIL import Image
from pydantic import with_config
from typing_extensions import TypedDict

from diffsensei.config.schema import ModelConfig, RuntimeConfig, SamplingConfig
from diffsensei.devices import own_device
from diffsensei.inference.request import PanelRequest, pages_of, read_requests
from diffsensei.inference.speed import speed_up
from diffsensei.methods.method import Method
from diffsensei.methods.registry import build_method
from diffsensei.methods.rollout import to_draw
from diffsensei.progress import Progress
from diffsensei.seeding import stream_seed


@with_config(extra="forbid")
class Drawing(TypedDict):
    """What every drawing stage is told beside its method."""

    seeds: tuple[int, ...]
    """evaluation.seeds."""
    runtime: RuntimeConfig
    benchmark: Path
    """The output of that stage."""
    workspace: Path
    output: Path


def generate_panels(
    *,
    method: Literal["sdxl_t2i", "diffsensei_stage1", "diffsensei"],
    model: ModelConfig,
    sampling: SamplingConfig,
    pretrain: Path | None = None,
    stage1: Path | None = None,
    stage2: Path | None = None,
    **drawing: Unpack[Drawing],
) -> None:
    """Stage: `draw_benchmark` with a method of the DiffSensei family. Raises ValueError for missing or unfit inputs."""
    outputs = {name: path for name, path in (("pretrain", pretrain), ("stage1", stage1), ("stage2", stage2)) if path}
    drawer = build_method(method, model.foundations, outputs, own_device())
    speed_up(drawer, drawing["runtime"])
    draw_benchmark(drawer, sampling, **drawing)


def draw_benchmark(method: Method, sampling: SamplingConfig, **drawing: Unpack[Drawing]) -> None:
    """Draw ``benchmark/panels.jsonl``: ``images/<seed>/<panel_id>.png``, ``generation.json``, ``logs/speed.json``.

    Images already in the workspace stay. What is redone is a whole piece (`Method.pieces`), so an interrupted run gives
    the same bits as an uninterrupted one. Raises ValueError for missing or unfit inputs.
    """
    seeds, runtime, benchmark = drawing["seeds"], drawing["runtime"], drawing["benchmark"]
    workspace, output = drawing["workspace"], drawing["output"]
    torch.set_num_threads(runtime.num_threads)
    pages = pages_of(read_requests(benchmark / "panels.jsonl"))
    images = workspace / "images"
    pending = [
        (seed, piece)
        for seed in seeds
        for piece in method.pieces([_reseeded(page, seed) for page in pages], sampling)
        if not all((images / str(seed) / f"{panel.panel_id}.png").is_file() for panel in to_draw(piece))
    ]
    num_panels = len(to_draw(pages))
    total, missing = num_panels * len(seeds), sum(len(to_draw(piece)) for _, piece in pending)
    progress = Progress(
        workspace / "progress.json", f"Drawing with {method.name}", total, "panels", start=total - missing
    )
    began = time.perf_counter()
    for seed, piece in pending:
        for panel_id, image in method.generate(piece, benchmark, sampling):
            _save(image, images / str(seed) / f"{panel_id}.png")
            progress.advance()
    elapsed = time.perf_counter() - began

    shutil.copytree(images, output / "images", ignore=shutil.ignore_patterns(".*"))
    _write_json(output / "generation.json", _description(method, sampling, seeds, num_panels))
    (output / "logs").mkdir()
    device = own_device()
    speed = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else f"cpu, {runtime.num_threads} threads",
        "panels_drawn": missing,
        "elapsed_s": elapsed,
        "panels_per_s": missing / elapsed if missing else None,
    }
    _write_json(output / "logs" / "speed.json", speed)


def _reseeded(page: Sequence[PanelRequest], seed: int) -> list[PanelRequest]:
    """Each panel's own noise, another for every evaluation seed and the same for every method."""
    return [panel.replaced(seed=stream_seed(seed, "panel", panel.seed)) for panel in page]


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    image.save(temporary, format="PNG")
    os.replace(temporary, path)


def _description(method: Method, sampling: SamplingConfig, seeds: tuple[int, ...], num_panels: int) -> object:
    return {
        "method": method.name,
        "consumes": sorted(method.consumes),
        "deviations": list(method.deviations),
        "sampling": sampling.model_dump(mode="json"),
        "seeds": list(seeds),
        "num_panels": num_panels,
    }


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")
