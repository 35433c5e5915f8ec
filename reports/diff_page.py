"""The page that compares two versions."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diffsensei.evaluation.results import GROUND_TRUTH
from reports.addresses import panel_address
from reports.results_table import ABSENT, figure_text, interval_text, signed_text
from reports.site_shell import render_site_page
from reports.version_diff import FigureChange, PanelChange, SettingChange, VersionDiff
from reports.version_index import Listed
from reports.versions import main_method


@dataclass(frozen=True)
class FigureLine:
    """A row of the table of figures."""

    label: str
    before: str
    after: str
    difference: str
    interval: str
    p_holm: str
    num_pages: int
    verdict: str
    reason: str


@dataclass(frozen=True)
class MetricGroup:
    """One metric, all methods."""

    metric: str
    higher_is_better: bool
    lines: tuple[FigureLine, ...]


@dataclass(frozen=True)
class PanelLine:
    """A panel that moved: pictures of both versions, and the way to its record in both."""

    name: str
    before: str
    after: str
    difference: str
    better: bool
    pictures: tuple[str, str, str]
    """Truth, first, second; empty where there is none."""
    records: tuple[str, str]


@dataclass(frozen=True)
class PanelGroup:
    metric: str
    lines: tuple[PanelLine, ...]


@dataclass(frozen=True)
class SetDiff:
    name: str
    label: str
    main: str
    metrics: tuple[MetricGroup, ...]
    """Of methods with other measurements."""
    same: tuple[str, ...]
    """Methods with the very same ones."""
    panels: tuple[PanelGroup, ...]


def diff_page(first: Listed, second: Listed, diff: VersionDiff, site: Path) -> str:
    """HTML of ``compare/*.html``. ``site`` is the site's folder, in which links to panels and pictures must exist."""
    changed = [setting_line(change) for change in diff.settings]
    view: dict[str, Any] = {
        "first": first,
        "second": second,
        "diff": diff,
        "sets": list(_sets(first, second, diff, site)),
        "settings": changed,
        "confidence": f"{100 * second.version.sets[0].summary.confidence:g}",
        "command": f"diffsensei report diff {first.id} {second.id}",
    }
    return render_site_page("compare.html.j2", view, root="../")


def setting_line(change: SettingChange) -> tuple[str, str, str]:
    """Path, what it was, what it is."""
    before = "absent" if change.only_in == "second" else _compact(change.before)
    after = "absent" if change.only_in == "first" else _compact(change.after)
    return change.path, before, after


def figure_line(row: FigureChange) -> FigureLine:
    """A figure's change as text."""
    return FigureLine(
        label=row.label,
        before=ABSENT if row.before is None else figure_text(row.before),
        after=ABSENT if row.after is None else figure_text(row.after),
        difference="" if row.difference is None else signed_text(row.difference),
        interval=interval_text(row.low, row.high, signed=True),
        p_holm=ABSENT if row.p_holm is None else "< 0.001" if row.p_holm < 0.001 else f"{row.p_holm:.3f}",
        num_pages=row.num_pages,
        verdict=row.verdict,
        reason=row.reason,
    )


def _sets(first: Listed, second: Listed, diff: VersionDiff, site: Path) -> Iterator[SetDiff]:
    for found in second.version.sets:
        rows = [row for row in diff.figures if row.set_name == found.name]
        if not rows:
            continue
        main = main_method(found.summary)
        moved = {row.method for row in rows if row.verdict not in ("same", "not comparable")}
        refused = {row.metric for row in rows if row.verdict == "not comparable"}
        yield SetDiff(
            name=found.name,
            label=found.label,
            main=main.label if main else "",
            metrics=tuple(_metric_groups([row for row in rows if row.method in moved or row.metric in refused])),
            same=tuple(dict.fromkeys(row.label for row in rows if row.method not in moved)),
            panels=tuple(
                _panel_groups([row for row in diff.panels if row.set_name == found.name], first, second, site)
            ),
        )


def _metric_groups(rows: Sequence[FigureChange]) -> Iterator[MetricGroup]:
    for metric in dict.fromkeys(row.metric for row in rows):
        mine = [row for row in rows if row.metric == metric]
        lines = tuple(figure_line(row) for row in mine)
        if {(row.verdict, row.reason) for row in mine} == {("not comparable", mine[0].reason)}:
            lines = (replace(lines[0], label="every method", before=ABSENT, after=ABSENT),)
        yield MetricGroup(mine[0].metric_label, mine[0].higher_is_better, lines)


def _panel_groups(rows: Sequence[PanelChange], first: Listed, second: Listed, site: Path) -> Iterator[PanelGroup]:
    for metric in dict.fromkeys(row.metric for row in rows):
        mine = [row for row in rows if row.metric == metric]
        lines = tuple(_panel_line(row, first, second, site) for row in mine)
        yield PanelGroup(mine[0].metric_label, lines)


def _panel_line(row: PanelChange, first: Listed, second: Listed, site: Path) -> PanelLine:
    return PanelLine(
        name=f"{row.series}, page {row.page_id[:6]}",
        before=figure_text(row.before),
        after=figure_text(row.after),
        difference=signed_text(row.after - row.before),
        better=row.better,
        pictures=(
            _picture(second, row, site, GROUND_TRUTH),
            _picture(first, row, site),
            _picture(second, row, site),
        ),
        records=(_record(first, row, site), _record(second, row, site)),
    )


def _picture(listed: Listed, row: PanelChange, site: Path, method: str = "") -> str:
    """What ``method``, by default the main one, drew in that version; empty where the picture is not there."""
    found = listed.version.set(row.set_name)
    main = main_method(found.summary) if found is not None else None
    if found is None or main is None:
        return ""
    address = listed.version.picture(found, row.panel_id, method or main.name)
    return f"../v/{listed.id}/{address}" if address and (site / "v" / listed.id / address).is_file() else ""


def _record(listed: Listed, row: PanelChange, site: Path) -> str:
    """Empty where that version has no page of panels."""
    found = listed.version.set(row.set_name)
    if found is None:
        return ""
    address = panel_address(row.panel_id, found.galleries)
    there = (site / "v" / listed.id / address.partition("#")[0]).is_file()
    return f"../v/{listed.id}/{address}" if there else ""


def _compact(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
