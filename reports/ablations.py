"""The ablation tables in the paper's shape: ours with intervals, the paper's beside, and what is decided."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from diffsensei.config import ExperimentConfig
from diffsensei.evaluation.ablations import PARTS, VARIANTS, AblationRow, Ablations, Table, Variant, collect_ablations
from diffsensei.evaluation.results import Comparison, MetricDefinition
from diffsensei.progress import Progress
from reports.paper import ABLATIONS, METRICS
from reports.results_table import Cell, figure_cell, figure_text, interval_text, verdict
from reports.shell import page_renderer

FIRST_COLUMN: dict[Table, str] = {
    "table_3": "",
    "table_4a": "Rate",
    "table_4b": "Weight",
}
EXPLAINED: dict[Table, str] = {
    "table_3": "CM: character mask, DM: dialog mask, Magi: Magi's image encoder beside CLIP's, MLLM: the identity "
    "adapter. Where a mask is missing, Fourier embeddings of the boxes take its place (paper, section 5.4).",
    "table_4a": "How often, in training, a character's reference is its own crop from the target panel.",
    "table_4b": "The share of the MLLM's character tokens in the blend with the resampler's, when drawing. One trained "
    "model draws all rows.",
}


@dataclass(frozen=True)
class Against:
    """A row's difference to the table's full method, by metric."""

    text: str
    interval: str
    verdict: str


@dataclass(frozen=True)
class Line:
    """One row as it is printed."""

    label: str
    checks: tuple[bool, ...]
    baseline: bool
    failed: str
    cells: tuple[Cell, ...]
    against: tuple[Against | None, ...]
    """Of the metrics that are tested, against the baseline; None where there is no pair."""
    paper: tuple[str, ...]


@dataclass(frozen=True)
class AblationTable:
    """One table of the paper with our rows."""

    name: Table
    title: str
    reference: str
    first_column: str
    checks: tuple[str, ...]
    """Headings of the check marks; empty for tables without."""
    explained: str
    metrics: tuple[MetricDefinition, ...]
    lines: tuple[Line, ...]

    @property
    def num_failed(self) -> int:
        return sum(bool(line.failed) for line in self.lines)


@dataclass(frozen=True)
class AdapterLine:
    """One metric without the MLLM adapter and with it."""

    aspect: str
    metric: MetricDefinition
    without: Cell
    with_adapter: Cell
    against: Against | None


@dataclass(frozen=True)
class AblationView:
    """All tables, what the adapter alone changes, and what they were measured on."""

    tables: tuple[AblationTable, ...]
    adapter: tuple[AdapterLine, ...]
    found: Ablations
    percent: str


def ablation_view(found: Ablations) -> AblationView:
    """What the page shows."""
    adapter = tuple(
        AdapterLine(
            aspect=measure.aspect,
            metric=measure.metric,
            without=figure_cell(measure.without, best=False),
            with_adapter=figure_cell(measure.with_adapter, best=False),
            against=_difference(measure.comparison, measure.metric),
        )
        for measure in found.adapter
    )
    return AblationView(tuple(_tables(found)), adapter, found, f"{100 * found.confidence:g}")


def build_ablations(
    *,
    config: ExperimentConfig,
    failures: dict[str, str],
    workspace: Path,
    output: Path,
    **scores: Path,
) -> None:
    """Write ``ablations.json`` (`Ablations`) and ``ablations.html`` from the rows' scores.

    ``scores`` has the score folders by `Variant.key`, ``failures`` why others have none. Raises ValueError where rows
    cannot stand in one table.
    """
    progress = Progress(workspace / "progress.json", "Collecting the ablations", len(VARIANTS), "rows")
    found = collect_ablations(
        scores, failures, config.evaluation, METRICS, {variant.key: paper_values(variant) for variant in VARIANTS}
    )
    progress.advance(len(VARIANTS))
    (output / "ablations.json").write_text(found.model_dump_json(indent=1) + "\n")
    render = page_renderer(config, (("ablations.html", "Ablations"),))
    view = {"ablations": ablation_view(found), "command": ""}
    (output / "ablations.html").write_text(render("ablations.html", view), encoding="utf-8")


def paper_values(variant: Variant) -> tuple[float, ...]:
    """The paper's figures of the same row, in the order of `METRICS`."""
    (row,) = (row for row in ABLATIONS[variant.table].rows if row.label == variant.label)
    return row.values


def _tables(found: Ablations) -> Iterator[AblationTable]:
    for name, printed in ABLATIONS.items():
        rows = [row for row in found.rows if row.variant.table == name]
        table: Table = rows[0].variant.table
        yield AblationTable(
            name=table,
            title=printed.title,
            reference=printed.reference,
            first_column=FIRST_COLUMN[table],
            checks=PARTS if table == "table_3" else (),
            explained=EXPLAINED[table],
            metrics=found.metrics,
            lines=tuple(_line(row, found) for row in rows),
        )


def _line(row: AblationRow, found: Ablations) -> Line:
    variant = row.variant
    return Line(
        label=variant.label,
        checks=tuple(part in variant.parts for part in PARTS) if variant.table == "table_3" else (),
        baseline=variant.baseline,
        failed="" if row.state == "computed" else row.state,
        cells=tuple(figure_cell(result, best=False) for result in row.results),
        against=_against(row, found),
        paper=tuple(f"{value:.3f}" for value in row.paper),
    )


def _against(row: AblationRow, found: Ablations) -> tuple[Against | None, ...]:
    pairs = {
        pair.metric: pair for pair in found.comparisons.get(row.variant.table, ()) if pair.method == row.variant.key
    }
    return tuple(_difference(pairs.get(metric.name), metric) for metric in found.metrics)


def _difference(pair: Comparison | None, metric: MetricDefinition) -> Against | None:
    if pair is None:
        return None
    return Against(
        text=f"+{figure_text(pair.difference)}" if pair.difference >= 0 else figure_text(pair.difference),
        interval=interval_text(pair.low, pair.high, signed=True),
        verdict=verdict(pair, metric.higher_is_better),
    )
