"""The tables of checkpoints by metrics as text: on the command line, and in the Prefect UI."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from diffsensei.evaluation.matrix import BenchmarkTable, Cell, Evaluations, Row
    from diffsensei.evaluation.results import MetricDefinition

HEADLINE = "headline"
ROW_COLUMN = "row"
WIDEST = 10_000


def shown_columns(table: "BenchmarkTable", every: bool) -> "list[MetricDefinition]":
    """The headline's metrics, or all of them."""
    return [column for column in table.columns if every or column.group == HEADLINE]


def table_lines(table: "BenchmarkTable", every: bool = False) -> tuple[list[dict[str, str]], list[str]]:
    """One mapping per row (column -> text), and the notes that cells in parentheses point at."""
    notes: list[str] = []

    def noted(text: str) -> str:
        if text not in notes:
            notes.append(text)
        return f"({notes.index(text) + 1})"

    columns = shown_columns(table, every)
    lines = []
    for row in table.rows:
        line = {ROW_COLUMN: " ".join([_title(row), *(noted(f"{row.label}: {note}") for note in row.notes)])}
        for column in columns:
            cell = table.cell(row.key, column.name)
            line[column.label] = _figure(cell) if cell and cell.result.value is not None else noted(_why(cell, row))
        lines.append(line)
    return lines, notes


def print_evaluations(evaluations: "Evaluations", every: bool = False) -> None:
    """All tables on stdout: rows checkpoints, columns metrics, cells value [low, high] or the number of a note.

    A table is as wide as it must be; a narrower terminal wraps its lines.
    """
    console = Console(highlight=False)
    for table in evaluations.tables:
        lines, notes = table_lines(table, every)
        shown = Table(
            title=f"{evaluations.name}, {table.benchmark} ({table.digest[:12]})", title_justify="left", box=None
        )
        for name in (ROW_COLUMN, *(column.label for column in shown_columns(table, every))):
            shown.add_column(name, no_wrap=True)
        for line in lines:
            shown.add_row(*(Text(text.replace(" [", "\n[")) for text in line.values()))
        width = max(console.width, console.measure(shown, options=console.options.update(width=WIDEST)).maximum)
        Console(highlight=False, width=width).print(shown)
        for number, note in enumerate(notes, start=1):
            console.print(f"({number}) {note}", markup=False, soft_wrap=True)
        console.print()


async def show_evaluations(evaluations: "Evaluations") -> None:
    """Each benchmark's headline as a table artifact of the current run."""
    from prefect.artifacts import acreate_table_artifact

    for table in evaluations.tables:
        lines, notes = table_lines(table)
        await acreate_table_artifact(
            lines, key=f"evaluations-{table.benchmark}", description=_description(table, notes)
        )


def _description(table: "BenchmarkTable", notes: Sequence[str]) -> str:
    told = [f"({number}) {note}" for number, note in enumerate(notes, start=1)]
    return "; ".join([f"benchmark {table.benchmark} ({table.digest[:12]}), value [interval]", *told])


def _title(row: "Row") -> str:
    return f"{row.label}, {', '.join(row.channels)}" if row.channels else row.label


def _figure(cell: "Cell") -> str:
    result = cell.result
    interval = "" if result.low is None else f" [{result.low:.3g}, {result.high:.3g}]"
    return f"{result.value:.3g}{interval}"


def _why(cell: "Cell | None", row: "Row") -> str:
    if cell is not None:
        return cell.result.state
    return "not scored: see the note of its row" if row.notes else "not scored yet; run the flow evaluate"
