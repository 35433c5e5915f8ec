"""The first page of the site: every version, and how each metric went from one to the next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from diffsensei.evaluation.comparability import comparable
from diffsensei.evaluation.results import MetricDefinition
from reports.charts import TrendPoint, trend_chart
from reports.results_table import ABSENT, figure_text, interval_text, signed_text
from reports.status import Staleness
from reports.version_diff import FigureChange, VersionDiff, short_digests
from reports.versions import EvaluationSet, Version, main_method

MAX_TREND = 24
"""Versions in a trend, the newest; the table has all."""


@dataclass(frozen=True)
class Listed:
    """A version of the site. ``id`` names its folder; ``published`` is ISO 8601, UTC."""

    id: str
    version: Version
    published: str
    staleness: Staleness
    channels: tuple[str, ...]
    """References that name its bundle now, such as ``released``."""

    @property
    def label(self) -> str:
        """Told apart from other reports of the same release."""
        return f"{self.version.name} {self.version.version} ({self.id.rpartition('-')[2][:7]})"

    @property
    def address(self) -> str:
        """Of its first page, from the site's folder."""
        return f"v/{self.id}/index.html"


@dataclass(frozen=True)
class Withdrawn:
    """A version that left the site because it shows a page that was taken down: what may be said of it.

    ``id`` and ``published`` as in `Listed`; ``since``: the day, ISO 8601.
    """

    id: str
    published: str
    since: str
    reasons: tuple[str, ...]

    @property
    def label(self) -> str:
        """Of its id alone: its files are not read any more."""
        name, _, digest = self.id.rpartition("-")
        return f"{name} ({digest[:7]})"


@dataclass(frozen=True)
class IndexCell:
    """The main method's figure, and the difference to the version before."""

    value: str
    interval: str
    difference: str
    verdict: str
    hint: str


@dataclass(frozen=True)
class IndexRow:
    listed: Listed
    date: str
    method: str
    pages: str
    cells: tuple[IndexCell, ...]
    diff: str
    """Address of the comparison with the version before; empty for the first."""


@dataclass(frozen=True)
class Trend:
    label: str
    higher_is_better: bool
    chart: Markup


@dataclass(frozen=True)
class SetIndex:
    """One evaluation set over all versions of a release's name that have it, newest first."""

    anchor: str
    name: str
    release: str
    label: str
    metrics: tuple[MetricDefinition, ...]
    rows: tuple[IndexRow, ...]
    trends: tuple[Trend, ...]
    breaks: tuple[str, ...]
    """Where a trend is interrupted, and why."""


def index_view(
    listed: Sequence[Listed],
    diffs: Mapping[tuple[str, str], VersionDiff],
    compared: Sequence[tuple[str, str]],
    withdrawn: Sequence[Withdrawn],
) -> dict[str, Any]:
    """What the template shows of ``listed`` (oldest first) and of ``withdrawn``.

    ``diffs``: of consecutive versions by their ids; ``compared``: all pairs that have a page.
    """
    releases = list(dict.fromkeys(entry.version.name for entry in reversed(listed)))
    sets = [
        _set_index(name, [entry for entry in listed if entry.version.name == release], diffs)
        for release in releases
        for name in dict.fromkeys(
            found.name for entry in listed if entry.version.name == release for found in entry.version.sets
        )
    ]
    return {
        "sets": sets,
        "releases": releases,
        "versions": list(reversed(listed)),
        "withdrawn": withdrawn,
        "pairs": [diff_address(*pair) for pair in compared],
        "num_stale": sum(entry.staleness.state == "stale" for entry in listed),
    }


def consecutive(listed: Sequence[Listed]) -> list[tuple[Listed, Listed]]:
    """Each version with the one before it under the same release name, oldest first."""
    last: dict[str, Listed] = {}
    pairs = []
    for entry in listed:
        if entry.version.name in last:
            pairs.append((last[entry.version.name], entry))
        last[entry.version.name] = entry
    return pairs


def diff_address(first: str, second: str) -> str:
    """Of the comparison of two versions, from the site's folder."""
    return f"compare/{first}__{second}.html"


def _set_index(name: str, listed: Sequence[Listed], diffs: Mapping[tuple[str, str], VersionDiff]) -> SetIndex:
    having = [(entry, found) for entry in listed if (found := entry.version.set(name)) is not None]
    newest = having[-1][1].summary
    metrics = tuple(metric for metric in newest.metrics if metric.group == "headline")
    before = {second: first for first, second in diffs}
    rows = []
    for entry, found in having:
        changes = {}
        if entry.id in before:
            diff = diffs[before[entry.id], entry.id]
            changes = {(row.method, row.metric): row for row in diff.figures if row.set_name == name}
        rows.append(_row(entry, found, metrics, changes, before.get(entry.id)))
    breaks: list[str] = []
    trends = [_trend(metric, having[-MAX_TREND:], breaks) for metric in metrics]
    release = having[-1][0].version.name
    return SetIndex(
        anchor=f"{release}-{name}",
        name=name,
        release=release,
        label=having[-1][1].label,
        metrics=metrics,
        rows=tuple(reversed(rows)),
        trends=tuple(trend for trend in trends if trend is not None),
        breaks=tuple(dict.fromkeys(breaks)),
    )


def _row(
    entry: Listed,
    found: EvaluationSet,
    metrics: Sequence[MetricDefinition],
    changes: Mapping[tuple[str, str], FigureChange],
    before: str | None,
) -> IndexRow:
    main = main_method(found.summary)
    return IndexRow(
        listed=entry,
        date=entry.published[:16].replace("T", " "),
        method=main.label if main else ABSENT,
        pages=f"{found.summary.num_panels} panels, {found.summary.num_pages} pages",
        cells=tuple(
            _cell(found, main.name if main else "", metric, changes.get((main.name, metric.name)) if main else None)
            for metric in metrics
        ),
        diff=diff_address(before, entry.id) if before else "",
    )


def _cell(found: EvaluationSet, method: str, metric: MetricDefinition, change: FigureChange | None) -> IndexCell:
    result = found.summary.result(method, metric.name)
    if result is None or result.value is None:
        state = "not measured" if result is None else result.state
        return IndexCell(ABSENT, "", "", "", state)
    difference, verdict, hint = "", "", ""
    if change is not None:
        told = change.difference is not None and change.verdict != "same"
        difference = signed_text(change.difference or 0.0) if told else change.verdict
        verdict = change.verdict if told else ""
        hint = change.reason or interval_text(change.low, change.high, signed=True)
    return IndexCell(figure_text(result.value), interval_text(result.low, result.high), difference, verdict, hint)


def _trend(metric: MetricDefinition, having: Sequence[tuple[Listed, EvaluationSet]], breaks: list[str]) -> Trend | None:
    """One line; broken where two neighbours are not comparable."""
    points: list[TrendPoint] = []
    last: tuple[Listed, EvaluationSet] | None = None
    for entry, found in having:
        main = main_method(found.summary)
        result = found.summary.result(main.name, metric.name) if main else None
        if result is None or result.value is None:
            continue
        reasons = () if last is None else comparable(last[1].summary, found.summary, metric.name)
        if reasons and last is not None:
            breaks.append(f"{metric.label}, {last[0].label} to {entry.label}: {short_digests('; '.join(reasons))}")
        points.append(
            TrendPoint(
                label=f"{entry.version.version}\n{entry.published[5:10]}",
                value=result.value,
                low=result.low,
                high=result.high,
                joined=not reasons,
                stale=entry.staleness.state == "stale",
            )
        )
        last = entry, found
    if not points:
        return None
    title = f"{metric.label} of the main method over {len(points)} versions, oldest left; the figures are in the table"
    name = f"trend-{having[-1][0].version.name}-{having[-1][1].name}-{metric.name}"
    return Trend(metric.label, metric.higher_is_better, trend_chart(points, name=name, title=title))
