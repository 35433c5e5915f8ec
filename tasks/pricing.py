"""A plan with its price: GPU-hours and memory of each stage on a GPU that is named, from counted operations."""

from dataclasses import dataclass

from diffsensei.config import ExperimentConfig
from diffsensei.config.schema import MangaZeroSource
from diffsensei.costs.data_size import DataSize
from diffsensei.costs.gpus import Gpu
from diffsensei.costs.stages import StageCost, stage_costs
from infra.plan import Plan
from infra.stage import Action

BEYOND = "does not fit: recompute activations (runtime.gradient_checkpointing) or use smaller micro batches"


@dataclass(frozen=True)
class Price:
    """What is to be done, priced."""

    rows: tuple[dict[str, str], ...]
    """One for each stage whose cost is counted."""
    notes: tuple[str, ...]
    """What the figures rest on."""


def price(config: ExperimentConfig, plan: Plan, gpu: Gpu, utilisation: float) -> Price:
    """The stages of ``plan`` that are still to be done, on ``gpu`` at ``utilisation`` (0 to 1) of its datasheet.

    Raises ValueError where the amount of data is neither known nor assumed.
    """
    data = data_size(config, plan)
    waiting = {row.stage for row in plan.work}
    costs = [cost for cost in stage_costs(config, data) if cost.name in waiting]
    counted = {cost.name for cost in costs}
    others = [row.stage for row in plan.work if row.resources.gpus and row.stage not in counted]
    hours = sum(_hours(cost, gpu, utilisation) for cost in costs)
    notes = [
        f"together {hours:.1f} GPU-hours; {gpu.name} at {utilisation:.0%} of {gpu.teraflops:g} TFLOP/s in bfloat16, "
        f"an assumption until `make bench-gpu` has measured it",
        f"data: {data.basis}",
        "counted: UNet, autoencoder, language model, image encoders; memory is a bound from below",
        *([f"not counted: {', '.join(others)}"] if others else []),
    ]
    return Price(tuple(_row(cost, gpu, utilisation) for cost in costs), tuple(notes))


def data_size(config: ExperimentConfig, plan: Plan) -> DataSize:
    """The panels as they were cut, or before that, for MangaZero, the paper's.

    Raises ValueError for other data that is not cut yet.
    """
    row = next((row for row in plan.rows if row.stage == "panels"), None)
    if row is not None and row.action is Action.REUSE and row.result is not None:
        return DataSize.counted(row.result.path, config.data.buckets)
    if isinstance(config.data.source, MangaZeroSource):
        return DataSize.of_mangazero(config.data.buckets)
    raise ValueError("expected panels to count, none are cut yet; run `diffsensei run ingest` with this configuration")


def _row(cost: StageCost, gpu: Gpu, utilisation: float) -> dict[str, str]:
    hours = _hours(cost, gpu, utilisation)
    memory = cost.memory_bytes / 2**30
    return {
        "stage": cost.name,
        "work": _operations(cost.teraflop),
        "GPU-hours": f"{hours:.1f}" if hours >= 1 else f"{hours:.2g}",
        "memory": f"{memory:.1f} GiB",
        "": BEYOND if memory > gpu.memory_gib else "",
    }


def _hours(cost: StageCost, gpu: Gpu, utilisation: float) -> float:
    return cost.teraflop / (gpu.teraflops * utilisation) / 3600


def _operations(teraflop: float) -> str:
    for unit, size in (("EFLOP", 1e6), ("PFLOP", 1e3)):
        if teraflop >= size:
            return f"{teraflop / size:.1f} {unit}"
    return f"{teraflop:.1f} TFLOP"
