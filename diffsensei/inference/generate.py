"""The generation stage: one method draws the whole benchmark, once per evaluation seed."""

import json
import os
import shutil
import time
from pathlib import Path
from typing import Literal

import torch
from PIL import Image

from diffsensei.config.schema import EvaluationConfig, ModelConfig, SamplingConfig
from diffsensei.inference.request import PanelRequest, read_requests
from diffsensei.methods.image_generator import batches_by_size
from diffsensei.methods.method import Method
from diffsensei.methods.registry import build_method
from diffsensei.progress import Progress
from diffsensei.seeding import stream_seed


def generate_panels(
    *,
    method: Literal["sdxl_t2i", "diffsensei_stage1", "diffsensei"],
    model: ModelConfig,
    sampling: SamplingConfig,
    evaluation: EvaluationConfig,
    num_threads: int,
    benchmark: Path,
    workspace: Path,
    output: Path,
    pretrain: Path | None = None,
    stage1: Path | None = None,
    stage2: Path | None = None,
) -> None:
    """Draw ``benchmark/panels.jsonl``: ``images/<seed>/<panel_id>.png``, ``generation.json``, ``logs/speed.json``.

    Images already in the workspace stay. The unit that is redone is a whole batch of equal-sized panels, so an
    interrupted run gives the same bits as an uninterrupted one. Raises ValueError for missing or unfit inputs.
    """
    torch.set_num_threads(num_threads)
    requests = read_requests(benchmark / "panels.jsonl")
    outputs = {name: path for name, path in (("pretrain", pretrain), ("stage1", stage1), ("stage2", stage2)) if path}
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    drawer = build_method(method, model.foundations, outputs, device)

    images = workspace / "images"
    pending = _pending(requests, evaluation.seeds, images, sampling.batch_size)
    total = len(requests) * len(evaluation.seeds)
    missing = sum(len(batch) for _, batch in pending)
    progress = Progress(workspace / "progress.json", f"Drawing with {method}", total, "panels", start=total - missing)
    began = time.perf_counter()
    for seed, batch in pending:
        for panel_id, image in drawer.generate(_reseeded(batch, seed), benchmark, sampling):
            _save(image, images / str(seed) / f"{panel_id}.png")
            progress.advance()
    elapsed = time.perf_counter() - began

    shutil.copytree(images, output / "images", ignore=shutil.ignore_patterns(".*"))
    _write_json(output / "generation.json", _description(drawer, sampling, evaluation, len(requests)))
    (output / "logs").mkdir()
    speed = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else f"cpu, {num_threads} threads",
        "panels_drawn": missing,
        "elapsed_s": elapsed,
        "panels_per_s": missing / elapsed if missing else None,
    }
    _write_json(output / "logs" / "speed.json", speed)


def _pending(
    requests: list[PanelRequest], seeds: tuple[int, ...], images: Path, batch_size: int
) -> list[tuple[int, list[PanelRequest]]]:
    """The batches of which at least one image is missing."""
    return [
        (seed, batch)
        for seed in seeds
        for batch in batches_by_size(requests, batch_size)
        if not all((images / str(seed) / f"{request.panel_id}.png").is_file() for request in batch)
    ]


def _reseeded(batch: list[PanelRequest], seed: int) -> list[PanelRequest]:
    """Each panel's own noise, another for every evaluation seed and the same for every method."""
    return [request.replaced(seed=stream_seed(seed, "panel", request.seed)) for request in batch]


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    image.save(temporary, format="PNG")
    os.replace(temporary, path)


def _description(method: Method, sampling: SamplingConfig, evaluation: EvaluationConfig, num_panels: int) -> object:
    return {
        "method": method.name,
        "consumes": sorted(method.consumes),
        "sampling": sampling.model_dump(mode="json"),
        "seeds": list(evaluation.seeds),
        "num_panels": num_panels,
    }


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")
