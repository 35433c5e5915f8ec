"""Checkpoints by metrics, one table a benchmark: what was scored, by which definition, and what is still missing.

`evaluations.json` is an `Evaluations`. A cell stands for a drawing (what a checkpoint drew of a benchmark) and a
metric's definition by digest; where either is another today, the cell is missing, and only it is scored again.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from diffsensei.config.base import Config
from diffsensei.evaluation.comparability import differences
from diffsensei.evaluation.results import MetricDefinition, MetricResult, Summary

FILE = "evaluations.json"


class Row(Config):
    """A checkpoint, or what it stands beside."""

    key: str
    """Stays the same when the label changes: ``checkpoint-<digest>``, or the method's name."""
    label: str
    role: Literal["oracle", "floor", "method", "checkpoint", "recorded", "checked"]
    """The last two are of a drift check: figures recorded once, and figures found for the same panels now."""
    digest: str
    """Of the checkpoint's bundle; of what was drawn for rows without one."""
    channels: tuple[str, ...] = ()
    """References that named the checkpoint when the table was made."""
    notes: tuple[str, ...] = ()
    """What a reader must know: why it could not be drawn, which figures moved."""


class Cell(Config):
    """One row under one metric."""

    row: str
    drawing: str
    """Digest of the drawn panels."""
    definition: str
    """Digest of the metric's definition (`MetricDefinition.digest`); it covers the benchmark."""
    result: MetricResult


class BenchmarkTable(Config):
    """All rows on one benchmark. Columns are unique by name."""

    benchmark: str
    """``main``, ``evaluation`` for the second source, or ``drift`` for the set that is scored over and over."""
    digest: str
    """Of panels and pictures (`comparability.benchmark_digest`)."""
    columns: tuple[MetricDefinition, ...]
    rows: tuple[Row, ...]
    cells: tuple[Cell, ...]

    def cell(self, row: str, metric: str) -> Cell | None:
        """The cell, or None where nothing was scored."""
        return next((cell for cell in self.cells if cell.row == row and cell.result.metric == metric), None)

    def column(self, metric: str) -> MetricDefinition | None:
        """The definition of a metric, or None where the table has no such column."""
        return next((column for column in self.columns if column.name == metric), None)


class Evaluations(Config):
    """The tables of one experiment's benchmarks."""

    name: str
    """Of the experiment (`ExperimentConfig.name`)."""
    tables: tuple[BenchmarkTable, ...]

    def table(self, benchmark: str) -> BenchmarkTable | None:
        """The table of a benchmark, or None."""
        return next((table for table in self.tables if table.benchmark == benchmark), None)

    def with_tables(self, tables: Sequence[BenchmarkTable]) -> "Evaluations":
        """These with ``tables`` put in the place of those of the same benchmarks, new ones at the end."""
        changed = {table.benchmark: table for table in tables}
        kept = [changed.pop(table.benchmark, table) for table in self.tables]
        return Evaluations(name=self.name, tables=(*kept, *changed.values()))


def read_evaluations(folder: Path) -> Evaluations:
    """What the flow ``evaluate`` stored in ``folder``. Raises ValueError where there is none."""
    path = folder / FILE
    if not path.is_file():
        raise ValueError(f"{folder} holds no evaluations: {FILE} is missing; run the flow evaluate")
    return Evaluations.model_validate_json(path.read_text())


def write_evaluations(evaluations: Evaluations, folder: Path) -> None:
    """The file that `read_evaluations` reads."""
    (folder / FILE).write_text(evaluations.model_dump_json(indent=1) + "\n")


def missing_cells(
    table: BenchmarkTable | None, row: str, drawing: str | None, columns: Sequence[MetricDefinition]
) -> dict[str, str]:
    """Metric -> why it is to be scored for ``row``, which drew ``drawing`` (None: nothing yet); empty if nothing is.

    ``table`` is what is known so far, ``columns`` what is wanted now.
    """
    missing = {}
    known = table is not None and any(cell.row == row for cell in table.cells)
    for column in columns:
        cell = table.cell(row, column.name) if table else None
        if cell is None:
            missing[column.name] = "new metric" if known else "never scored"
        elif cell.definition != column.digest:
            before = table.column(column.name) if table else None
            changes = differences(before, column) if before and before.digest == cell.definition else ()
            missing[column.name] = "; ".join(changes) or "defined otherwise"
        elif cell.drawing != drawing:
            missing[column.name] = "drawn anew" if drawing else "to be drawn anew"
    return missing


def cells_of(summary: Summary, rows: Mapping[str, tuple[str, str]]) -> list[Cell]:
    """The cells of a summary's methods. ``rows``: method -> (row, digest of its drawing); others are left out."""
    definitions = {metric.name: metric.digest for metric in summary.metrics}
    return [
        Cell(
            row=rows[result.method][0],
            drawing=rows[result.method][1],
            definition=definitions[result.metric],
            result=result,
        )
        for result in summary.results
        if result.method in rows
    ]


def filled(
    table: BenchmarkTable | None,
    benchmark: str,
    digest: str,
    columns: Sequence[MetricDefinition],
    rows: Sequence[Row],
    cells: Sequence[Cell],
    drawings: Mapping[str, str],
) -> BenchmarkTable:
    """The table with ``rows`` and ``columns``: new ``cells``, and those of ``table`` that still hold.

    ``drawings``: row -> digest of what it drew last, where that is known.
    """
    wanted = {column.name: column.digest for column in columns}
    fresh = {(cell.row, cell.result.metric) for cell in cells}
    kept = [
        cell
        for cell in (table.cells if table else ())
        if (cell.row, cell.result.metric) not in fresh
        and wanted.get(cell.result.metric) == cell.definition
        and drawings.get(cell.row, cell.drawing) == cell.drawing
    ]
    present = {row.key for row in rows}
    return BenchmarkTable(
        benchmark=benchmark,
        digest=digest,
        columns=tuple(columns),
        rows=tuple(rows),
        cells=tuple(cell for cell in (*kept, *cells) if cell.row in present),
    )
