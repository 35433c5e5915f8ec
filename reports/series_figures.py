"""The metrics of one series alone, per method, with the intervals that its own pages give."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from diffsensei.config.schema import EvaluationConfig
from diffsensei.evaluation.item_metrics import ItemMetric, item_metrics, measurement_counts, page_sums
from diffsensei.evaluation.results import MethodInfo, MetricDefinition, Summary
from diffsensei.evaluation.statistics import cluster_bootstrap
from diffsensei.seeding import numpy_stream

STATISTICS_SEED = 0
MAX_SLUG = 40


@dataclass(frozen=True)
class SeriesFigure:
    """One metric of one method on one series."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    skipped: dict[str, int]


@dataclass(frozen=True)
class SeriesFigures:
    metrics: tuple[MetricDefinition, ...]
    rows: tuple[tuple[MethodInfo, tuple[SeriesFigure, ...]], ...]


def series_figures(
    summary: Summary, items: pd.DataFrame, evaluation: EvaluationConfig, groups: Sequence[str] = ("headline", "manga")
) -> dict[str, SeriesFigures]:
    """Series to its table: metrics of ``groups`` that are made of single measurements (a FID of two pages is none)."""
    known = {metric.definition.name: metric for metric in item_metrics(evaluation)}
    computed = {row.metric for row in summary.results if row.value is not None}
    shown = tuple(m for m in summary.metrics if m.group in groups and m.name in known and m.name in computed)
    # By metric too: picking a metric's rows out of a part again and again takes longer than the figures.
    of_part = dict(iter(items.groupby(["series", "method", "metric"])))
    present = set(zip(items["series"], items["method"], strict=True))
    found = {}
    for series in sorted(items["series"].unique()):
        rows = []
        for info in summary.methods:
            if (series, info.name) not in present:
                continue
            figures = []
            for metric in shown:
                parts = [of_part.get((series, info.name, item)) for item in known[metric.name].items]
                there = [part for part in parts if part is not None] or [items.iloc[:0]]
                mine = there[0] if len(there) == 1 else pd.concat(there)
                figures.append(_figure(mine, known[metric.name], series, evaluation))
            rows.append((info, tuple(figures)))
        found[str(series)] = SeriesFigures(shown, tuple(rows))
    return found


def series_address(series: str) -> str:
    """The page of a series: its name as far as that is safe everywhere, told apart by a hash where it is not."""
    slug = re.sub(r"[^a-z0-9]+", "-", series.lower()).strip("-")[:MAX_SLUG]
    if slug != series:
        slug = f"{slug}-{hashlib.sha256(series.encode()).hexdigest()[:8]}".strip("-")
    return f"series/{slug}.html"


def _figure(mine: pd.DataFrame, metric: ItemMetric, series: str, evaluation: EvaluationConfig) -> SeriesFigure:
    n, _, skipped = measurement_counts(mine, metric)
    _, sums = page_sums(mine[mine["skipped"].isna()], metric)
    value = float(metric.statistic(sums.sum(0)))
    if not np.isfinite(value):
        return SeriesFigure(None, None, None, n, skipped)
    interval = cluster_bootstrap(
        sums,
        metric.statistic,
        resamples=evaluation.bootstrap_resamples,
        confidence=evaluation.confidence,
        rng=numpy_stream(STATISTICS_SEED, "series bootstrap", series, metric.definition.name),
    )
    return SeriesFigure(value, interval.low, interval.high, n, skipped)
