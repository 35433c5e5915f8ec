"""What changed between two versions: figures with paired tests, panels, configuration, data and code.

Figures are compared on the very same panels, and only where the benchmark and the metric's definition are the same;
otherwise the row says why it is not comparable.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from diffsensei.config.base import Config
from diffsensei.config.schema import EvaluationConfig
from diffsensei.evaluation.comparability import comparable
from diffsensei.evaluation.comparisons import compare_pairs
from diffsensei.evaluation.item_metrics import headline, item_metrics
from diffsensei.evaluation.results import Comparison, MetricDefinition, Summary
from reports.results_table import verdict
from reports.versions import EvaluationSet, Version, main_method, read_items

NUM_CHANGED = 6
"""Panels shown at each end of a metric."""
UNTESTED = "a figure of the whole set: no pairs to test"
NO_PAIRS = "no panel was measured in both"


class FigureChange(Config):
    """One method's figure in both versions; ``difference`` is the second minus the first."""

    set_name: str
    method: str
    label: str
    metric: str
    metric_label: str
    higher_is_better: bool
    before: float | None
    after: float | None
    difference: float | None
    low: float | None
    high: float | None
    p_holm: float | None
    """Corrected for all comparisons of this evaluation set, those of equal measurements left out."""
    num_pages: int
    verdict: str
    """``same`` (every measurement is), ``better``, ``worse``, ``undecided``, ``untested`` or ``not comparable``."""
    reason: str
    """Why not comparable or untested."""


class PanelChange(Config):
    """One panel whose score of the main method moved."""

    set_name: str
    metric: str
    metric_label: str
    panel_id: str
    series: str
    page_id: str
    before: float
    after: float
    better: bool


class SettingChange(Config):
    """A field of the configuration; an absent one is None with ``absent``."""

    path: str
    before: Any = None
    after: Any = None
    only_in: str = ""
    """``first`` or ``second`` where the other lacks the field."""


class StageChange(Config):
    """A stage whose result differs, or which only one version has (empty digest)."""

    stage: str
    before: str
    after: str


class PackageChange(Config):
    name: str
    before: str
    after: str


class VersionDiff(Config):
    """Everything the comparison page shows."""

    figures: tuple[FigureChange, ...]
    panels: tuple[PanelChange, ...]
    settings: tuple[SettingChange, ...]
    stages: tuple[StageChange, ...]
    same_stages: tuple[str, ...]
    packages: tuple[PackageChange, ...]
    commits: tuple[tuple[str, ...], tuple[str, ...]]
    not_comparable: tuple[str, ...]
    """Whole evaluation sets that cannot be compared, and why."""


def compare_versions(first: Version, first_folder: Path, second: Version, second_folder: Path) -> VersionDiff:
    """``second`` minus ``first``; the folders hold their measurements.

    Raises ValueError where the second version's evaluation settings are not those of this program.
    """
    figures: list[FigureChange] = []
    panels: list[PanelChange] = []
    refused: list[str] = []
    for before, after in _sets(first, second, refused):
        items = [_labelled(read_items(first_folder, before), 1), _labelled(read_items(second_folder, after), 2)]
        figures += _figures(before, after, pd.concat(items), evaluation_of(second))
        panels += _panels(before, after, *items)
    return VersionDiff(
        figures=tuple(figures),
        panels=tuple(panels),
        settings=tuple(_settings(first, second)),
        stages=tuple(_stages(first, second)),
        same_stages=tuple(name for name in second.stages if _digest(first, name) == _digest(second, name)),
        packages=tuple(_packages(first, second)),
        commits=(first.commits, second.commits),
        not_comparable=tuple(refused),
    )


def evaluation_of(version: Version) -> EvaluationConfig:
    """The evaluation part of its configuration. Raises ValueError for one of another program version."""
    try:
        return EvaluationConfig.model_validate(version.config["evaluation"])
    except (KeyError, ValidationError):
        raise ValueError(
            f"{version.name} {version.version}: its evaluation settings are not those of this program; score it again"
        ) from None


def _sets(first: Version, second: Version, refused: list[str]) -> Iterator[tuple[EvaluationSet, EvaluationSet]]:
    for name in dict.fromkeys(found.name for found in (*first.sets, *second.sets)):
        before, after = first.set(name), second.set(name)
        if before is None or after is None:
            there = after or before
            assert there is not None
            refused.append(f"{there.label}: only the {'second' if before is None else 'first'} version has it")
        else:
            yield before, after


def _labelled(items: pd.DataFrame, place: int) -> pd.DataFrame:
    return items.assign(method=items["method"].astype(str) + f"@{place}")


def _figures(
    before: EvaluationSet, after: EvaluationSet, items: pd.DataFrame, evaluation: EvaluationConfig
) -> Iterator[FigureChange]:
    reasons = {
        m.name: comparable(before.summary, after.summary, m.name) for m in _metrics(before.summary, after.summary)
    }
    shared = _shared_methods(before.summary, after.summary)
    tested = [m for m in headline(item_metrics(evaluation)) if not reasons.get(m.definition.name, ("unknown",))]
    changed = [method for method, _ in shared if not _same_items(items, method)]
    pairs = [(f"{method}@2", f"{method}@1") for method in changed]
    found = {(c.method.removesuffix("@2"), c.metric): c for c in compare_pairs(items, pairs, tested, evaluation)}
    names = {metric.definition.name for metric in headline(item_metrics(evaluation))}
    for metric in _metrics(before.summary, after.summary):
        for method, label in shared:
            results = [part.summary.result(method, metric.name) for part in (before, after)]
            values = [None if result is None else result.value for result in results]
            pair = found.get((method, metric.name))
            found_same = method not in changed and values[0] == values[1]
            yield _figure(
                after.name, method, label, metric, values, pair, reasons[metric.name], found_same, metric.name in names
            )


def _same_items(items: pd.DataFrame, method: str) -> bool:
    """Whether both versions hold the very same measurements of ``method``."""
    keys = ["seed", "page_id", "panel_id", "character", "metric", "skipped", "value", "tp", "fp", "fn"]
    first, second = (
        items.loc[items["method"] == f"{method}@{place}", keys].sort_values(keys).reset_index(drop=True)
        for place in (1, 2)
    )
    return first.equals(second)


def _figure(
    set_name: str,
    method: str,
    label: str,
    metric: MetricDefinition,
    values: Sequence[float | None],
    pair: Comparison | None,
    reasons: Sequence[str],
    same: bool,
    has_items: bool,
) -> FigureChange:
    before, after = values
    difference: float | None = None
    if reasons:
        word, reason = "not comparable", short_digests("; ".join(reasons))
    elif before is None or after is None:
        word, reason = "not comparable", f"not computed in the {'first' if before is None else 'second'} version"
    elif same:
        word, reason, difference = "same", "", 0.0
    elif pair is not None:
        word, reason, difference = verdict(pair, metric.higher_is_better), "", pair.difference
    else:
        word, reason, difference = "untested", NO_PAIRS if has_items else UNTESTED, after - before
    return FigureChange(
        set_name=set_name,
        method=method,
        label=label,
        metric=metric.name,
        metric_label=metric.label,
        higher_is_better=metric.higher_is_better,
        before=before,
        after=after,
        difference=difference,
        low=pair.low if pair else None,
        high=pair.high if pair else None,
        p_holm=pair.p_holm if pair else None,
        num_pages=pair.n_pages if pair else 0,
        verdict=word,
        reason=reason,
    )


def short_digests(text: str) -> str:
    """``text`` with its digests cut to 12 digits."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{20,}\b", r"\1", text)


def _metrics(first: Summary, second: Summary) -> list[MetricDefinition]:
    """Headline metrics of either, those of the second first."""
    found = {metric.name: metric for metric in first.metrics} | {metric.name: metric for metric in second.metrics}
    named = dict.fromkeys(metric.name for metric in (*second.metrics, *first.metrics))
    return [found[name] for name in named if found[name].group == "headline"]


def _shared_methods(first: Summary, second: Summary) -> list[tuple[str, str]]:
    there = {info.name for info in first.methods}
    return [(info.name, info.label) for info in second.methods if info.role == "method" and info.name in there]


def panel_scores(items: pd.DataFrame, method: str, metric: str) -> "pd.Series[float]":
    """One score a panel, by series, page and panel: the mean of its characters and seeds."""
    mine = items[(items["method"] == method) & (items["metric"] == metric)]
    return mine.groupby(["series", "page_id", "panel_id"], sort=True)["value"].mean().dropna()


def _panels(before: EvaluationSet, after: EvaluationSet, old: pd.DataFrame, new: pd.DataFrame) -> Iterator[PanelChange]:
    main = main_method(after.summary)
    if main is None:
        return
    for metric in _metrics(before.summary, after.summary):
        if comparable(before.summary, after.summary, metric.name):
            continue
        scores = pd.concat(
            [panel_scores(old, f"{main.name}@1", metric.name), panel_scores(new, f"{main.name}@2", metric.name)],
            axis=1,
            keys=["before", "after"],
        ).dropna()
        moved = (scores["after"] - scores["before"]) * (1.0 if metric.higher_is_better else -1.0)
        order = np.argsort(-moved.abs().to_numpy(), kind="stable")
        for place in order[: 2 * NUM_CHANGED]:
            if moved.iloc[place] == 0.0:
                break
            series, page, panel = scores.index[place]
            yield PanelChange(
                set_name=after.name,
                metric=metric.name,
                metric_label=metric.label,
                panel_id=str(panel),
                series=str(series),
                page_id=str(page),
                before=float(scores["before"].iloc[place]),
                after=float(scores["after"].iloc[place]),
                better=bool(moved.iloc[place] > 0),
            )


def _settings(first: Version, second: Version) -> Iterator[SettingChange]:
    old, new = first.flat_config(), second.flat_config()
    for path in [*new, *(path for path in old if path not in new)]:
        if path not in old:
            yield SettingChange(path=path, after=new[path], only_in="second")
        elif path not in new:
            yield SettingChange(path=path, before=old[path], only_in="first")
        elif old[path] != new[path]:
            yield SettingChange(path=path, before=old[path], after=new[path])


def _stages(first: Version, second: Version) -> Iterator[StageChange]:
    for name in dict.fromkeys((*second.stages, *first.stages)):
        before, after = _digest(first, name), _digest(second, name)
        if before != after:
            yield StageChange(stage=name, before=before, after=after)


def _digest(version: Version, stage: str) -> str:
    return version.stages[stage].digest if stage in version.stages else ""


def _packages(first: Version, second: Version) -> Iterator[PackageChange]:
    old, new = _installed(first), _installed(second)
    for name in sorted(old.keys() | new.keys(), key=str.lower):
        before, after = old.get(name, ""), new.get(name, "")
        if before != after:
            yield PackageChange(name=name, before=before, after=after)


def _installed(version: Version) -> dict[str, str]:
    found: dict[str, str] = {}
    for origin in version.stages.values():
        found |= origin.env.packages if origin.env is not None else {}
    return found
