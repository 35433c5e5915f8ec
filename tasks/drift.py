"""The drift check: frozen drawings scored once more, and an alarm where a figure moved that had no reason to."""

from typing import TYPE_CHECKING

from diffsensei.config import ExperimentConfig
from infra.manifest import utc_now
from infra.store import ObjectRef, Store
from tasks.alarm import MetricsMoved
from tasks.checkpoints import TRUST, Checkpoint, known_checkpoints
from tasks.pipeline import run_alone, run_pipeline
from tasks.publication import open_store
from tasks.reevaluation import define_benchmark, record_tables
from tasks.stages.reevaluation import check_stage, draw_stage, freeze_stage

if TYPE_CHECKING:
    from diffsensei.evaluation.drift import DriftReport
    from diffsensei.evaluation.matrix import BenchmarkTable

DRIFT = "drift"
"""Channel of the references to frozen sets, and name of their table."""


async def run_drift_check(config: ExperimentConfig, tolerance: float) -> ObjectRef:
    """The stored tables, with the check's two rows. Called inside a flow; ``tolerance`` as in `check_drift`.

    The set is frozen by the first check, and frozen again when a metric is defined otherwise than it was recorded;
    never when one moved. Raises MetricsMoved once the rows are stored; ValueError where there is neither a frozen set
    nor a checkpoint to freeze one of.
    """
    store = open_store()
    ref = store.refs.read(DRIFT, config.name)
    reference = await _freeze(config, store) if ref is None else store.object(ref.kind, ref.digest)
    report = await _check(config, store, reference, tolerance)
    if report.redefined and not report.moved:
        reference = await _freeze(config, store)
        report = await _check(config, store, reference, tolerance)
    reason = report.alarm or "drift check passed"
    stored = record_tables(config, store, lambda _: [drift_table(report)], reason)
    if report.moved:
        raise MetricsMoved(report.alarm)
    return stored


async def _freeze(config: ExperimentConfig, store: Store) -> ObjectRef:
    """Pages that a checkpoint drew, and their figures now; the reference names them from here on."""
    checkpoint = _most_trusted(known_checkpoints(store))
    run = await run_pipeline(config, ("benchmark",))
    benchmark = define_benchmark(config, "main", run.results["benchmark"].object)
    inputs = {"bundle": checkpoint.bundle, "benchmark": benchmark.frozen}
    title = f"draw {checkpoint.label}"
    drawn = (await run_alone(draw_stage(config), config, inputs, store, title)).object
    stage = freeze_stage(config, {column.name: column.digest for column in benchmark.columns})
    inputs = {"benchmark": benchmark.frozen, "annotations": run.results["annotations"].object, "drawn": drawn}
    frozen = await run_alone(stage, config, inputs, store)
    ref = store.refs.read(DRIFT, config.name)
    reason = f"pages drawn by {checkpoint.label}"
    expected = ref.digest if ref else None
    store.refs.move(DRIFT, config.name, frozen.object.kind, frozen.object.digest, expected=expected, reason=reason)
    return frozen.object


def _most_trusted(known: list[Checkpoint]) -> Checkpoint:
    for channel in TRUST:
        for checkpoint in known:
            if channel in checkpoint.channels:
                return checkpoint
    raise ValueError("no checkpoint to freeze drawings of: none is released or a candidate; run `full-pipeline` first")


async def _check(config: ExperimentConfig, store: Store, reference: ObjectRef, tolerance: float) -> "DriftReport":
    from diffsensei.evaluation.drift import read_drift

    stage = check_stage(config, utc_now(), tolerance)
    return read_drift((await run_alone(stage, config, {"reference": reference}, store)).object.path)


def drift_table(report: "DriftReport") -> "BenchmarkTable":
    """A check as two rows of a table: what was recorded, and what was found."""
    from diffsensei.evaluation.matrix import BenchmarkTable, Cell, Row

    told = tuple(f"{metric} moved: {how}" for metric, how in report.moved.items())
    label = f"checked {report.checked[:10]}: {'moved' if report.moved else 'the same'}"
    rows = (
        Row(key="recorded", role="recorded", label="as recorded", digest=report.set_digest),
        Row(key="checked", role="checked", label=label, digest=report.set_digest, notes=told),
    )
    digests = {column.name: column.digest for column in report.columns}
    cells = [
        Cell(row=row.key, drawing=report.set_digest, definition=digests[result.metric], result=result)
        for row, results in zip(rows, (report.recorded, report.found), strict=True)
        for result in results
        if result.metric in digests
    ]
    return BenchmarkTable(
        benchmark=DRIFT, digest=report.set_digest, columns=report.columns, rows=rows, cells=tuple(cells)
    )
