"""What the flow ``evaluate`` would draw and score, and why, before it does."""

from collections.abc import Iterator, Mapping

from diffsensei.config import ExperimentConfig
from infra.stage import Action, stage_key
from infra.store import ObjectDamaged, ObjectMissing, ObjectRef, Store
from tasks.checkpoints import Checkpoint, known_checkpoints
from tasks.planning import plan_targets, summary_line, table_rows
from tasks.reevaluation import BENCHMARKS, Benchmark, define_benchmark, stored_evaluations, targets_of
from tasks.stages.reevaluation import draw_stage

NAMED = 4
"""Metrics that one reason names."""


def plan_evaluation(config: ExperimentConfig, store: Store, checkpoints: str = "all") -> Iterator[str]:
    """A line for the configuration's own stages, one for each that has work, and one for each checkpoint.

    Nothing is started. Raises ValueError for an unknown choice of ``checkpoints``.
    """
    from diffsensei.evaluation.matrix import missing_cells

    plan = plan_targets(config, targets_of(checkpoints), store)
    yield summary_line(plan)
    work = {row.stage for row in plan.work}
    yield from (f"  {row['stage']}: {row['action']}, {row['why']}" for row in table_rows(plan) if row["stage"] in work)
    known = [] if checkpoints == "configured" else known_checkpoints(store)
    if not known and checkpoints != "configured":
        yield "no checkpoint is known by a reference yet"
    before = stored_evaluations(config, store)
    for name, prefix in BENCHMARKS.items():
        row = next((row for row in plan.rows if row.stage == f"{prefix}benchmark"), None)
        if row is None:
            continue
        if row.action is not Action.REUSE or row.result is None:
            yield from (f"{name}, {checkpoint.label}: after {row.stage}" for checkpoint in known)
            continue
        benchmark = define_benchmark(config, name, row.result)
        for checkpoint in known:
            drawing = _drawing(config, store, checkpoint, benchmark)
            missing = missing_cells(before.table(name), checkpoint.key, drawing, benchmark.columns)
            said = _said(missing, len(benchmark.columns))
            yield f"{name}, {checkpoint.label}: {'' if drawing else 'draw; '}{said}"


def _drawing(config: ExperimentConfig, store: Store, checkpoint: Checkpoint, benchmark: Benchmark) -> str | None:
    """Digest of what the checkpoint drew of the benchmark, if that is stored."""
    stage = draw_stage(config)
    inputs: Mapping[str, ObjectRef] = {"bundle": checkpoint.bundle, "benchmark": benchmark.frozen}
    digests = {argument: ref.digest for argument, ref in inputs.items()}
    key = stage_key(stage, stage.values(config.keyed()), digests)
    try:
        found = store.finished(store.stage_folder(stage.name, key))
    except (ObjectMissing, ObjectDamaged):
        return None
    return found.digest if found else None


def _said(missing: Mapping[str, str], total: int) -> str:
    if not missing:
        return "nothing is missing"
    by_reason: dict[str, list[str]] = {}
    for metric, reason in missing.items():
        by_reason.setdefault(reason, []).append(metric)
    told = [f"{_named(metrics, total)} ({reason})" for reason, metrics in by_reason.items()]
    return f"score {len(missing)} of {total} metrics: {'; '.join(told)}"


def _named(metrics: list[str], total: int) -> str:
    if len(metrics) == total:
        return "all"
    named, rest = ", ".join(metrics[:NAMED]), len(metrics) - NAMED
    return f"{named} and {rest} more" if rest > 0 else named
