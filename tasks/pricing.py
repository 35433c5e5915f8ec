"""A plan with its price: GPU-hours and memory of each stage on a GPU that is named, from counted operations."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from diffsensei.baselines import stable_diffusion_costs
from diffsensei.baselines.ar_ldm import costs as ar_ldm
from diffsensei.baselines.ms_diffusion import costs as ms_diffusion
from diffsensei.baselines.seed_story import costs as seed_story
from diffsensei.baselines.storydiffusion import costs as storydiffusion
from diffsensei.baselines.storygen import costs as storygen
from diffsensei.config import ExperimentConfig
from diffsensei.config.schema import MangaZeroSource
from diffsensei.costs import annotation, stages
from diffsensei.costs.data_size import DataSize
from diffsensei.costs.gpus import Gpu
from diffsensei.costs.networks import NotCounted
from diffsensei.costs.passes import Passes
from diffsensei.costs.workload import Costs, StageCost, Workload
from diffsensei.evaluation import costs as scoring
from diffsensei.release import costs as release
from infra.plan import Plan, PlanRow
from infra.stage import Action
from infra.store import ObjectRef
from tasks.stages.data import EVALUATION

BEYOND = "does not fit: recompute activations (runtime.gradient_checkpointing) or use smaller micro batches"
NOT_PRICED = "not priced"

COSTS: Costs = {
    **annotation.COSTS,
    **stages.COSTS,
    **stable_diffusion_costs.COSTS,
    **ar_ldm.COSTS,
    **storygen.COSTS,
    **seed_story.COSTS,
    **storydiffusion.COSTS,
    **ms_diffusion.COSTS,
    **scoring.COSTS,
    **release.COSTS,
}
"""Every stage that networks work in, by name; on the second source a stage costs what its namesake would there."""


@dataclass(frozen=True)
class Priced:
    """A stage that is to be done, with its cost or why there is none."""

    stage: str
    cost: StageCost | None
    reason: str = ""


@dataclass(frozen=True)
class Price:
    """What is to be done, priced."""

    rows: tuple[dict[str, str], ...]
    """One for each stage that networks work in, and their sum."""
    notes: tuple[str, ...]
    """What the figures rest on."""


def price(config: ExperimentConfig, plan: Plan, gpu: Gpu, utilisation: float) -> Price:
    """The stages of ``plan`` that are still to be done, on ``gpu`` at ``utilisation`` (0 to 1) of its datasheet.

    Raises ValueError where the amount of data is neither known nor assumed.
    """
    data = data_size(config, plan)
    priced = count_work(plan.work, plan, Workload(config, data, Passes(config)))
    rows = [_row(found, gpu, utilisation) for found in priced]
    return Price((*rows, total_row("together", priced, gpu, utilisation)), notes_on(data.basis, gpu, utilisation))


def count_work(work: Sequence[PlanRow], plan: Plan, workload: Workload, costs: Costs = COSTS) -> list[Priced]:
    """The cost of each row of ``work``, of those that networks work in."""
    found = []
    for row in work:
        name = row.stage.removeprefix(EVALUATION)
        if name not in costs:
            found += [Priced(row.stage, None, "nothing counts it")] if row.resources.gpus else []
            continue
        try:
            here = workload if name == row.stage else _on_evaluation_source(workload, plan)
            found.append(Priced(row.stage, costs[name](here)))
        except NotCounted as error:
            found.append(Priced(row.stage, None, str(error)))
    return found


def data_size(config: ExperimentConfig, plan: Plan) -> DataSize:
    """The panels as they were cut, or before that as they are annotated or, for MangaZero, the paper's.

    Raises ValueError for other data that is not there yet.
    """
    buckets = config.data.buckets
    found = _cut(config, plan, "")
    if found is not None:
        return found
    if isinstance(config.data.source, MangaZeroSource):
        return DataSize.of_mangazero(buckets)
    annotated = _reused(plan, "annotations")
    if annotated is not None:
        return DataSize.annotated(annotated.path / "annotations.json", buckets, config.data.split)
    raise ValueError("expected panels to count, none are cut yet; run `diffsensei run ingest` with this configuration")


def total_row(name: str, priced: Sequence[Priced], gpu: Gpu, utilisation: float) -> dict[str, str]:
    """All of ``priced`` as one row called ``name``, which says what is missing from it."""
    costs = [found.cost for found in priced if found.cost is not None]
    total = StageCost(sum(cost.teraflop for cost in costs), max((cost.memory_bytes for cost in costs), default=0))
    absent = [found.stage for found in priced if found.cost is None]
    row = _row(Priced(name, total), gpu, utilisation)
    return row | {"memory": f"up to {row['memory']}", "": f"without {', '.join(absent)}" if absent else ""}


def notes_on(basis: str, gpu: Gpu, utilisation: float) -> tuple[str, ...]:
    """What figures rest on."""
    return (
        f"{gpu.name} at {utilisation:.0%} of {gpu.teraflops:g} TFLOP/s in bfloat16, an assumption until "
        f"`make bench-gpu` has measured it",
        f"data: {basis}",
        "counted: UNets, autoencoders, language models, text and image encoders, judges; memory is a bound from below",
    )


def _on_evaluation_source(workload: Workload, plan: Plan) -> Workload:
    """Everything of that source is held out."""
    config = workload.config
    found = _cut(config, plan, EVALUATION)
    if found is None:
        annotated = _reused(plan, f"{EVALUATION}annotations")
        if annotated is None:
            raise NotCounted("the panels of data.evaluation_source are not known yet; run `diffsensei run ingest`")
        found = DataSize.annotated(annotated.path / "annotations.json", config.data.buckets, None)
    return replace(workload, data=replace(workload.data, held_out=found.held_out))


def _cut(config: ExperimentConfig, plan: Plan, prefix: str) -> DataSize | None:
    found = _reused(plan, f"{prefix}panels")
    return None if found is None else DataSize.counted(found.path, config.data.buckets)


def _reused(plan: Plan, stage: str) -> ObjectRef | None:
    row = next((row for row in plan.rows if row.stage == stage), None)
    return row.result if row is not None and row.action is Action.REUSE else None


def _row(found: Priced, gpu: Gpu, utilisation: float) -> dict[str, str]:
    if found.cost is None:
        return {"stage": found.stage, "work": NOT_PRICED, "GPU-hours": "", "memory": "", "": found.reason}
    memory, hours = found.cost.memory_bytes / 2**30, found.cost.teraflop / (gpu.teraflops * utilisation) / 3600
    return {
        "stage": found.stage,
        "work": _operations(found.cost.teraflop),
        "GPU-hours": f"{hours:.1f}" if hours >= 1 else f"{hours:.2g}",
        "memory": f"{memory:.1f} GiB",
        "": BEYOND if memory > gpu.memory_gib else "",
    }


def _operations(teraflop: float) -> str:
    for unit, size in (("EFLOP", 1e6), ("PFLOP", 1e3)):
        if teraflop >= size:
            return f"{teraflop / size:.1f} {unit}"
    return f"{teraflop:.1f} TFLOP"
