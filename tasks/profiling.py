"""A few steps of a training stage under PyTorch's profiler, on the stage's real inputs."""

from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import ConfigDict, validate_call

from diffsensei.config import ExperimentConfig
from diffsensei.config.overrides import override
from infra.plan import Plan
from infra.stage import Action, Stage
from tasks.planning import plan_targets
from tasks.publication import open_store
from tasks.stages import pipeline_stages

ANNOTATIONS = ("batch", "forward", "backward", "optimizer")
"""The parts of a step that the trainer marks."""
PROFILED = ("pretrain", "stage1", "stage2")
NUM_OPERATORS = 12


def profile_stage(config: ExperimentConfig, name: str, steps: int, trace: Path) -> Iterator[dict[str, str]]:
    """Train ``steps`` steps of stage ``name`` in this process and write their ``trace``; rows of where the time went.

    The trace is Chrome's format: chrome://tracing or ui.perfetto.dev show it. Nothing is stored.
    Raises ValueError for a stage that does not train, or whose inputs are not there yet.
    """
    import torch
    from torch.profiler import ProfilerActivity, profile

    if name not in PROFILED:
        raise ValueError(f"expected a training stage to profile, got {name!r}; known: {', '.join(PROFILED)}")
    inputs = _inputs(_stage(config, name), plan_targets(config, (name,), open_store()))
    alone = ("runtime.parallelism=replicate", "training.num_processes=1")
    short = override(config, (f"training.{name}.steps={steps}", *alone))
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])
    with TemporaryDirectory(prefix="diffsensei-profile-") as folder, profile(activities=activities) as profiler:
        _call(_stage(short, name), short, inputs, Path(folder))
    profiler.export_chrome_trace(str(trace))
    yield from _rows(profiler.key_averages(), on_gpu=len(activities) > 1)


def _stage(config: ExperimentConfig, name: str) -> Stage:
    return next(stage for stage in pipeline_stages(config) if stage.name == name)


def _inputs(stage: Stage, plan: Plan) -> dict[str, Path]:
    found = {}
    for argument, source in stage.inputs.items():
        row = plan.row(source)
        if row.action is not Action.REUSE or row.result is None:
            raise ValueError(
                f"expected the result of stage {source} to profile {stage.name} with, it is not there; "
                f"run `diffsensei run train` with this configuration first"
            )
        found[argument] = row.result.path
    return found


def _call(stage: Stage, config: ExperimentConfig, inputs: dict[str, Path], folder: Path) -> None:
    for name in ("workspace", "output"):
        (folder / name).mkdir()
    arguments = stage.arguments(stage.values(config.model_dump(mode="json")))
    function = validate_call(config=ConfigDict(arbitrary_types_allowed=True))(resolve_name(stage.entry))
    function(**arguments, **inputs, workspace=folder / "workspace", output=folder / "output")


def _rows(averages: Any, *, on_gpu: bool) -> Iterator[dict[str, str]]:
    marked = [entry for entry in averages if entry.key in ANNOTATIONS]
    operators = [entry for entry in averages if entry.key.startswith("aten::")]
    of_its_own = (lambda entry: entry.self_device_time_total) if on_gpu else (lambda entry: entry.self_cpu_time_total)
    whole = sum(entry.cpu_time_total for entry in marked) or 1.0
    for entry in sorted(marked, key=lambda entry: ANNOTATIONS.index(entry.key)):
        yield _row(entry, entry.cpu_time_total, entry.cpu_time_total / whole)
    busy = sum(of_its_own(entry) for entry in operators) or 1.0
    for entry in sorted(operators, key=of_its_own, reverse=True)[:NUM_OPERATORS]:
        yield _row(entry, of_its_own(entry), of_its_own(entry) / busy)


def _row(entry: Any, time_us: float, share: float) -> dict[str, str]:
    return {"what": entry.key, "calls": str(entry.count), "ms": f"{time_us / 1e3:.1f}", "share": f"{share:.0%}"}
