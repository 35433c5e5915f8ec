"""The results table: figures with intervals, the paper's beside them, the best marked only where it is certain."""

from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from diffsensei.evaluation.results import (
    GROUND_TRUTH,
    Comparison,
    MethodInfo,
    MetricDefinition,
    MetricResult,
    Summary,
)
from reports.charts import Dot, dot_chart
from reports.paper import COUNTERPARTS, FID_CAVEAT, METRICS, Counterparts, PaperRow

SELF_COMPARED = ("fid", "kid", "dino_i", "dino_c", "dino_c_panel_mean", "cmmd", "fd_dino", "fid_64", "fid_page_mean")
BY_DEFINITION = {(GROUND_TRUTH, metric) for metric in (*SELF_COMPARED, "fid_l2_page_mean", "fid_infinity")}
"""The true panels compared with themselves: their figure says nothing."""
SIGNIFICANCE = 0.05
FURTHER = {
    "distribution": "Other distances between sets of panels",
    "variant": "Other readings of the same metrics",
    "manga": "What matters for manga",
}
"""The groups of metrics beside the headline's, in order."""
ABSENT = "\N{EN DASH}"


@dataclass(frozen=True)
class Cell:
    """One figure as it is printed."""

    text: str
    interval: str
    n: str
    best: bool
    trivial: bool
    state: str
    hint: str


@dataclass(frozen=True)
class PaperCell:
    """The paper's figure and, where they may stand side by side, ours minus the paper's."""

    text: str
    difference: str
    interval: str
    verdict: str
    """``better``, ``worse``, ``undecided``, or empty where no difference is shown."""


@dataclass(frozen=True)
class Row:
    """One method: our cells, then the paper's (None where it has none)."""

    info: MethodInfo
    series: int
    """Colour: 0 for oracle and floor, then one per method."""
    cells: tuple[Cell, ...]
    paper: tuple[PaperCell | None, ...]
    paper_reference: str


@dataclass(frozen=True)
class FurtherTable:
    """Metrics apart from the headline's: our cells only."""

    title: str
    metrics: tuple[MetricDefinition, ...]
    rows: tuple[tuple[MethodInfo, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class ResultsTable:
    metrics: tuple[MetricDefinition, ...]
    paper_metrics: tuple[MetricDefinition, ...]
    rows: tuple[Row, ...]
    charts: tuple[tuple[MetricDefinition, Markup], ...]
    against_paper: bool
    fid_caveat: str
    further: tuple[FurtherTable, ...]


@dataclass(frozen=True)
class ComparisonRow:
    metric: str
    method: str
    baseline: str
    difference: str
    interval: str
    p_holm: str
    n_pages: int
    effect_size: str
    verdict: str
    """``better``, ``worse`` or ``undecided``: an interval without 0 and a corrected p of at most 0.05."""


def results_table(
    summary: Summary, counterparts: Counterparts = COUNTERPARTS, *, against_paper: bool = False, prefix: str = ""
) -> ResultsTable:
    """The table of an evaluation set, one chart per metric of it, and apart from it the other groups of metrics.

    ``counterparts``: the paper's rows for these pages. ``against_paper``: show differences to them; for drawn pages
    they would mean nothing. ``prefix`` keeps the names of charts apart where a page has several tables.
    """
    headline = tuple(metric for metric in summary.metrics if metric.group == "headline")
    order = {info.name: index for index, info in enumerate(_methods(summary))}
    best = {metric.name: certain_best(summary, metric) for metric in headline}
    rows = []
    for info in summary.methods:
        counterpart, reference = counterparts.get(info.name, (None, ""))
        rows.append(
            Row(
                info=info,
                series=order.get(info.name, -1) + 1,
                cells=tuple(
                    figure_cell(summary.result(info.name, metric.name), best[metric.name] == info.name)
                    for metric in headline
                ),
                paper=tuple(
                    _paper_cell(counterpart, metric, summary.result(info.name, metric.name), against_paper)
                    for metric in headline
                    if metric.name in METRICS
                ),
                paper_reference=reference,
            )
        )
    return ResultsTable(
        metrics=headline,
        paper_metrics=tuple(metric for metric in headline if metric.name in METRICS),
        rows=tuple(rows),
        charts=tuple(_charts(summary, order, prefix)),
        against_paper=against_paper,
        fid_caveat=FID_CAVEAT,
        further=tuple(_further(summary)),
    )


def _paper_cell(
    counterpart: PaperRow | None, metric: MetricDefinition, ours: MetricResult | None, against_paper: bool
) -> PaperCell | None:
    """The paper prints no intervals: a difference is decided where ours excludes its figure."""
    theirs = None if counterpart is None else counterpart.value(metric.name)
    if theirs is None:
        return None
    text = f"{theirs:.3f}"
    # Whatever the paper's FID is, it is not this one.
    if not against_paper or metric.name == "fid" or ours is None or ours.value is None:
        return PaperCell(text, "", "", "")
    low, high = (None if end is None else end - theirs for end in (ours.low, ours.high))
    found = verdict_of(ours.value - theirs, low, high, metric.higher_is_better)
    return PaperCell(text, signed_text(ours.value - theirs), interval_text(low, high, signed=True), found)


def _further(summary: Summary) -> Iterator[FurtherTable]:
    for group, title in FURTHER.items():
        metrics = tuple(metric for metric in summary.metrics if metric.group == group)
        if metrics:
            rows = tuple(
                (info, tuple(figure_cell(summary.result(info.name, metric.name), best=False) for metric in metrics))
                for info in summary.methods
            )
            yield FurtherTable(title, metrics, rows)


def certain_best(summary: Summary, metric: MetricDefinition) -> str | None:
    """The generating method whose interval lies beyond every other method's; None where any two overlap."""
    results = [summary.result(info.name, metric.name) for info in _methods(summary)]
    known = [result for result in results if result is not None and result.value is not None]
    if len(known) < 2 or any(result.low is None or result.high is None for result in known):
        return None

    def beyond(a: MetricResult, b: MetricResult) -> bool:
        better, other = (a.low, b.high) if metric.higher_is_better else (b.low, a.high)
        assert better is not None
        assert other is not None
        return better > other

    for candidate in known:
        if all(beyond(candidate, other) for other in known if other is not candidate):
            return candidate.method
    return None


def comparison_rows(summary: Summary) -> list[ComparisonRow]:
    """Paired differences, by metric, with what they allow to say."""
    labels = {info.name: info.label for info in summary.methods}
    metrics = {metric.name: metric for metric in summary.metrics}
    rows = []
    for comparison in summary.comparisons:
        metric = metrics[comparison.metric]
        rows.append(
            ComparisonRow(
                metric=metric.label,
                method=labels.get(comparison.method, comparison.method),
                baseline=labels.get(comparison.baseline, comparison.baseline),
                difference=_minus(f"{comparison.difference:+.3f}"),
                interval=interval_text(comparison.low, comparison.high, signed=True),
                p_holm=_probability(comparison.p_holm),
                n_pages=comparison.n_pages,
                effect_size=ABSENT if comparison.effect_size is None else _minus(f"{comparison.effect_size:+.2f}"),
                verdict=verdict(comparison, metric.higher_is_better),
            )
        )
    return rows


def figure_text(value: float) -> str:
    """Three decimals, or one for large figures, with a true minus sign."""
    return _minus(f"{value:.{_decimals(value)}f}")


def signed_text(value: float) -> str:
    """A difference, always with its sign."""
    return figure_text(value) if value < 0 else f"+{figure_text(value)}"


def interval_text(low: float | None, high: float | None, *, signed: bool = False) -> str:
    """The two ends with a dash between, or "to" beside signs; empty where there is no interval."""
    if low is None or high is None:
        return ""
    if signed:
        return _minus(f"{low:+.3f} to {high:+.3f}")
    decimals = min(_decimals(low), _decimals(high))
    between = " to " if low < 0 else ABSENT
    return _minus(f"{low:.{decimals}f}") + between + _minus(f"{high:.{decimals}f}")


def _decimals(value: float) -> int:
    return 3 if abs(value) < 10 else 1


def _minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")


def _methods(summary: Summary) -> list[MethodInfo]:
    return [info for info in summary.methods if info.role == "method"]


def figure_cell(result: MetricResult | None, best: bool) -> Cell:
    """A figure as a table prints it; None stands for one that was never asked for."""
    if result is None:
        return Cell(ABSENT, "", "", False, False, "not measured", "")
    n = f"n = {result.n_used}" if result.n_used == result.n_total else f"n = {result.n_used}/{result.n_total}"
    skipped = "; ".join(f"{count} skipped: {reason}" for reason, count in result.skipped.items())
    seeds = "; ".join(f"seed {seed}: {figure_text(value)}" for seed, value in result.by_seed.items())
    spread = "" if result.seed_sd is None else f"sd between seeds {figure_text(result.seed_sd)}"
    hint = "; ".join(part for part in (f"interval: {result.interval}", skipped, seeds, spread) if part)
    if result.value is None:
        return Cell(ABSENT, "", n, False, False, result.state, hint)
    trivial = (result.method, result.metric) in BY_DEFINITION
    text = interval_text(result.low, result.high)
    return Cell(figure_text(result.value), "by definition" if trivial else text, n, best, trivial, "", hint)


def _charts(summary: Summary, order: dict[str, int], prefix: str) -> list[tuple[MetricDefinition, Markup]]:
    charts = []
    for metric in summary.metrics:
        if metric.group != "headline":
            continue
        dots = []
        for info in summary.methods:
            result = summary.result(info.name, metric.name)
            if result is None or result.value is None:
                continue
            anchor = info.role != "method"
            if (info.name, metric.name) in BY_DEFINITION:
                continue
            dots.append(Dot(info.label, result.value, result.low, result.high, order.get(info.name, -1) + 1, anchor))
        if dots:
            title = f"{metric.label} of each method with its interval; the figures are in the table above"
            charts.append((metric, dot_chart(dots, name=f"{prefix}dots-{metric.name}", title=title)))
    return charts


def _probability(value: float | None) -> str:
    if value is None:
        return ABSENT
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def verdict(comparison: Comparison, higher_is_better: bool) -> str:
    """As `ComparisonRow.verdict`."""
    if comparison.p_holm is None or comparison.p_holm > SIGNIFICANCE:
        return "undecided"
    return verdict_of(comparison.difference, comparison.low, comparison.high, higher_is_better)


def verdict_of(difference: float, low: float | None, high: float | None, higher_is_better: bool) -> str:
    """``better`` or ``worse`` where the interval leaves out 0, else ``undecided``."""
    if low is None or high is None or low <= 0 <= high:
        return "undecided"
    return "better" if (difference > 0) == higher_is_better else "worse"
