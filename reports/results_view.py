"""What the version's page says about one evaluation set."""

from collections.abc import Sequence
from dataclasses import dataclass

from diffsensei.evaluation.results import GROUND_TRUTH, SHUFFLED_TRUTH, Summary
from reports.breakdowns import Breakdowns, read_breakdowns
from reports.evaluation_sets import MeasuredSet
from reports.exports import Download
from reports.figure_origins import row_stages
from reports.orderings import Finding, find_orderings
from reports.paper import COUNTERPARTS, MANGA109_COUNTERPARTS
from reports.results_table import (
    ABSENT,
    ComparisonRow,
    ResultsTable,
    comparison_rows,
    figure_text,
    interval_text,
    results_table,
)
from reports.versions import EvaluationSet, Version, main_method

TILE_METRICS = ("dialog_f1", "dino_c", "dino_i", "clip")
SCOPES = {
    "synthetic": (
        "Smoke-size run on a synthetic world.",
        "The numbers show whether the mechanisms do their job; they are not comparable with the paper's data.",
    ),
    "mangazero": (
        "Protocol of the paper, other pages.",
        "The paper's evaluation pages and its CLIP and DINO variants are unpublished, so its numbers are for "
        "orientation.",
    ),
    "manga109": (
        "Protocol of the paper, other pages.",
        "Which pages of Manga109 the paper evaluated on is unpublished, so its numbers are for orientation.",
    ),
    "files": (
        "Pages of one's own.",
        "The paper evaluated on other pages, with judges of its own, so its numbers are for orientation.",
    ),
}


@dataclass(frozen=True)
class Tile:
    """One metric of the main method, placed between floor and oracle (per cent of the way)."""

    name: str
    label: str
    higher_is_better: bool
    value: str
    interval: str
    series: int
    floor: str
    oracle: str
    mark: float | None
    band: tuple[float, float] | None


@dataclass(frozen=True)
class SetView:
    """One evaluation set: its table and everything below it."""

    found: EvaluationSet
    prefix: str
    """Before the anchors of its sections: the main set has none."""
    scope: tuple[str, str]
    percent: str
    main: str
    main_name: str
    tiles: tuple[Tile, ...]
    table: ResultsTable
    orderings: tuple[Finding, ...]
    comparisons: tuple[ComparisonRow, ...]
    missing: tuple[tuple[str, str], ...]
    """Metrics without any figure, and why."""
    breakdowns: Breakdowns | None
    downloads: tuple[Download, ...]
    stages: dict[str, list[str]]
    """Method -> the stages that its figures rest on."""


def set_view(measured: MeasuredSet, version: Version, downloads: Sequence[Download]) -> SetView:
    """What the templates show of one set of ``version``."""
    found, summary = measured.found, measured.found.summary
    prefix = "" if found.name == "main" else f"{found.name}-"
    of_manga109 = measured.source.kind == "manga109"
    table = results_table(
        summary,
        MANGA109_COUNTERPARTS if of_manga109 else COUNTERPARTS,
        against_paper=not measured.drawn_pages,
        prefix=prefix,
    )
    main = main_method(summary)
    return SetView(
        found=found,
        prefix=prefix,
        scope=SCOPES[measured.source.kind],
        percent=f"{100 * summary.confidence:g}",
        main=main.label if main else "",
        main_name=main.name if main else "",
        tiles=tuple(_tiles(summary, table, main.name)) if main else (),
        table=table,
        orderings=tuple(find_orderings(summary)),
        comparisons=tuple(comparison_rows(summary)),
        missing=tuple(_missing(summary)),
        breakdowns=read_breakdowns(measured.score, summary),
        downloads=tuple(downloads),
        stages={info.name: row_stages(version, found, info.name) for info in summary.methods},
    )


def _missing(summary: Summary) -> list[tuple[str, str]]:
    found = []
    for metric in summary.metrics:
        results = [row for row in summary.results if row.metric == metric.name]
        if results and all(row.value is None for row in results):
            found.append((metric.label, results[0].state.removeprefix("not computed: ")))
    return found


def _tiles(summary: Summary, table: ResultsTable, method: str) -> list[Tile]:
    series = next(row.series for row in table.rows if row.info.name == method)
    tiles = []
    for name in TILE_METRICS:
        result = summary.result(method, name)
        if result is None or result.value is None:
            continue
        floor, oracle = summary.result(SHUFFLED_TRUTH, name), summary.result(GROUND_TRUTH, name)
        low = floor.value if floor is not None else None
        high = oracle.value if oracle is not None else None
        placed = low is not None and high is not None and low != high
        tiles.append(
            Tile(
                name=name,
                label=next(metric.label for metric in summary.metrics if metric.name == name),
                higher_is_better=result.higher_is_better,
                value=figure_text(result.value),
                interval=interval_text(result.low, result.high),
                series=series,
                floor=ABSENT if low is None else figure_text(low),
                oracle=ABSENT if high is None else figure_text(high),
                mark=_share(result.value, low, high) if placed else None,
                band=(_share(result.low, low, high), _share(result.high, low, high))
                if placed and result.low is not None and result.high is not None
                else None,
            )
        )
    return tiles


def _share(value: float, low: float | None, high: float | None) -> float:
    """Per cent of the way from ``low`` to ``high``, held between 0 and 100."""
    assert low is not None
    assert high is not None
    return min(max(100 * (value - low) / (high - low), 0.0), 100.0)
