"""Checkpoints by benchmarks by metrics: the cells that are missing are drawn and scored, and nothing else.

The rows are what the configuration describes (its methods, oracle and floor) and every checkpoint that a reference
names; the columns are the metrics as they are defined now. A new checkpoint is a new row, a metric with another
version, parameter or judge a new column. The tables are stored, and the reference ``evaluations/<experiment>`` names
the newest.
"""

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from diffsensei.config import ExperimentConfig
from infra.outcome import StageCancelled, StageError
from infra.refs import RefConflict
from infra.stage import Stage
from infra.store import ObjectRef, Store
from tasks.checkpoints import Checkpoint, known_checkpoints
from tasks.pipeline import PipelineRun, run_alone, run_pipeline
from tasks.publication import open_store
from tasks.stages.data import EVALUATION
from tasks.stages.reevaluation import draw_stage, score_cells_stage

if TYPE_CHECKING:
    from diffsensei.evaluation.matrix import BenchmarkTable, Cell, Evaluations, Row
    from diffsensei.evaluation.results import MetricDefinition

EVALUATIONS = "evaluations"
"""Kind of the stored tables, and channel of the references to them."""

TARGETS = {"all": ("score",), "configured": ("score",), "published": ("benchmark",)}
"""Which rows -> the stages of the pipeline that are brought up to date for them."""
BENCHMARKS = {"main": "", "evaluation": EVALUATION}
"""Benchmark -> prefix of its stages' names."""


def targets_of(checkpoints: str) -> tuple[str, ...]:
    """The stages for one choice of rows. Raises ValueError for another word."""
    if checkpoints not in TARGETS:
        raise ValueError(f"checkpoints: expected {', '.join(TARGETS)}, got {checkpoints!r}")
    return TARGETS[checkpoints]


@dataclass(frozen=True)
class Benchmark:
    """A frozen benchmark, and the metrics on it as they are defined now."""

    name: str
    frozen: ObjectRef
    digest: str
    columns: "tuple[MetricDefinition, ...]"


def define_benchmark(config: ExperimentConfig, name: str, frozen: ObjectRef) -> Benchmark:
    """What can be known of the columns before anything is scored."""
    from diffsensei.evaluation.comparability import benchmark_digest
    from diffsensei.evaluation.judges import identify_judges
    from diffsensei.evaluation.summary import define_metrics

    digest = benchmark_digest(frozen.path)
    identities = identify_judges(config.evaluation.judges)
    return Benchmark(name, frozen, digest, define_metrics(config.evaluation, identities, digest))


def stored_evaluations(config: ExperimentConfig, store: Store) -> "Evaluations":
    """The newest tables of the experiment; without tables where there are none yet."""
    from diffsensei.evaluation.matrix import Evaluations, read_evaluations

    ref = store.refs.read(EVALUATIONS, config.name)
    if ref is None:
        return Evaluations(name=config.name, tables=())
    return read_evaluations(store.object(ref.kind, ref.digest).path)


def record_tables(
    config: ExperimentConfig,
    store: Store,
    build: "Callable[[Evaluations], Sequence[BenchmarkTable]]",
    reason: str,
) -> ObjectRef:
    """Store the experiment's tables with those that ``build`` makes of them in their place; others stay.

    Two runs at once lose nothing: whoever comes second builds on what the first one stored.
    """
    from diffsensei.evaluation.matrix import write_evaluations

    while True:
        current = store.refs.read(EVALUATIONS, config.name)
        before = stored_evaluations(config, store)
        with tempfile.TemporaryDirectory() as folder:
            write_evaluations(before.with_tables(build(before)), Path(folder))
            stored = store.publish_object(Path(folder), EVALUATIONS)
        try:
            expected = current.digest if current else None
            store.refs.move(EVALUATIONS, config.name, stored.kind, stored.digest, expected=expected, reason=reason)
            return stored
        except RefConflict:
            continue


@dataclass(frozen=True)
class Evaluated:
    """What a run of the flow has: the stages' results, and the tables."""

    run: PipelineRun
    tables: ObjectRef
    evaluations: "Evaluations"


async def run_evaluation(config: ExperimentConfig, checkpoints: str) -> Evaluated:
    """Fill what is missing. Called inside a flow; ``checkpoints`` is a key of `TARGETS`.

    A checkpoint that cannot be drawn or scored is a row that says why; the others go on. Raises StageCancelled where a
    person stopped it, StageError where a stage of the configuration failed, ValueError for another word.
    """
    from diffsensei.evaluation.matrix import read_evaluations

    run = await run_pipeline(config, targets_of(checkpoints))
    before = stored_evaluations(config, run.store)
    known = [] if checkpoints == "configured" else known_checkpoints(run.store)
    filled_in: list[_Filling] = []
    for name, prefix in BENCHMARKS.items():
        frozen = run.results.get(f"{prefix}benchmark")
        if frozen is None:
            continue
        benchmark = define_benchmark(config, name, frozen.object)
        filling = _Filling(run, benchmark, run.results[f"{prefix}annotations"].object, before.table(name))
        score = run.results.get(f"{prefix}score")
        if score is None:
            filling.keep("oracle", "floor", "method")
        else:
            filling.take(score.object)
        if checkpoints == "configured":
            filling.keep("checkpoint")
        for checkpoint in known:
            await filling.add(checkpoint)
        filled_in.append(filling)

    def build(current: "Evaluations") -> "list[BenchmarkTable]":
        return [filling.table(current) for filling in filled_in]

    stored = record_tables(config, run.store, build, f"{len(known)} checkpoints")
    return Evaluated(run, stored, read_evaluations(stored.path))


class _Filling:
    """One benchmark's table while it is filled."""

    def __init__(
        self, run: PipelineRun, benchmark: Benchmark, annotations: ObjectRef, before: "BenchmarkTable | None"
    ) -> None:
        """``annotations``: of the data set that the benchmark was cut from."""
        self._run = run
        self._annotations = annotations
        self._benchmark = benchmark
        self._before = before
        self._rows: list[Row] = []
        self._cells: list[Cell] = []
        self._drawings: dict[str, str] = {}

    def keep(self, *roles: str) -> None:
        """Rows of the table as it was."""
        self._rows += [row for row in (self._before.rows if self._before else ()) if row.role in roles]

    def take(self, score: ObjectRef) -> None:
        """Rows and cells of the configuration's own methods, as its score stage has them."""
        from diffsensei.evaluation.matrix import Row, cells_of
        from diffsensei.evaluation.results import read_summary

        summary = read_summary(score.path)
        for method in summary.methods:
            self._rows.append(Row(key=method.name, label=method.label, role=method.role, digest=score.digest))
            self._drawings[method.name] = score.digest
        self._cells += cells_of(summary, {method.name: (method.name, score.digest) for method in summary.methods})

    async def add(self, checkpoint: Checkpoint) -> None:
        """The row of a checkpoint, drawn and scored as far as it is not."""
        try:
            await self._fill(checkpoint)
            notes: tuple[str, ...] = ()
        except StageCancelled:
            raise
        except StageError as error:
            print(f"{checkpoint.label} on {self._benchmark.name}: {error}", file=sys.stderr)
            notes = (str(error).splitlines()[0],)
        self._rows.append(checkpoint_row(checkpoint, notes))

    def table(self, current: "Evaluations") -> "BenchmarkTable":
        """What was filled, and of the table as it is by now the rows that another run added meanwhile."""
        from diffsensei.evaluation.matrix import filled

        name, digest, columns = self._benchmark.name, self._benchmark.digest, self._benchmark.columns
        newest = current.table(name)
        seen = {row.key for row in (*self._rows, *(self._before.rows if self._before else ()))}
        added = [row for row in (newest.rows if newest else ()) if row.key not in seen]
        return filled(newest, name, digest, columns, [*self._rows, *added], self._cells, self._drawings)

    async def _fill(self, checkpoint: Checkpoint) -> None:
        from diffsensei.evaluation.matrix import cells_of, missing_cells
        from diffsensei.evaluation.results import read_summary

        config, frozen = self._run.config, self._benchmark.frozen
        inputs = {"bundle": checkpoint.bundle, "benchmark": frozen}
        drawn = await self._result(draw_stage(config), inputs, f"draw {checkpoint.label}")
        self._drawings[checkpoint.key] = drawn.digest
        missing = missing_cells(self._before, checkpoint.key, drawn.digest, self._benchmark.columns)
        if not missing:
            return
        wanted = {column.name: column.digest for column in self._benchmark.columns if column.name in missing}
        inputs = {"benchmark": frozen, "annotations": self._annotations, "drawn": drawn}
        scored = await self._result(score_cells_stage(config, wanted), inputs, f"score {checkpoint.label}")
        summary = read_summary(scored.path)
        place = (checkpoint.key, drawn.digest)
        self._cells += cells_of(summary, {info.name: place for info in summary.methods if info.role == "method"})

    async def _result(self, stage: Stage, inputs: Mapping[str, ObjectRef], title: str) -> ObjectRef:
        return (await run_alone(stage, self._run.config, inputs, self._run.store, title)).object


def checkpoint_row(checkpoint: Checkpoint, notes: tuple[str, ...] = ()) -> "Row":
    """What the tables say of a checkpoint itself."""
    from diffsensei.evaluation.matrix import Row

    return Row(
        key=checkpoint.key,
        label=checkpoint.label,
        role="checkpoint",
        digest=checkpoint.bundle.digest,
        channels=checkpoint.channels,
        notes=notes,
    )


def newest_tables(name: str | None) -> "Evaluations":
    """The tables of the experiment ``name``, or of the one that was evaluated last.

    Raises ValueError where there are none, listing those there are.
    """
    from diffsensei.evaluation.matrix import read_evaluations

    store = open_store()
    moves = [move for move in store.refs.log(EVALUATIONS) if name in (None, move.name)]
    if not moves:
        known = ", ".join(store.refs.names(EVALUATIONS)) or "none"
        raise ValueError(f"no evaluations of {name or 'anything'} (known: {known}); run `diffsensei run evaluate`")
    return read_evaluations(store.object(moves[-1].kind, moves[-1].digest).path)
