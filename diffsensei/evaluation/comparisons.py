"""Paired comparisons: two methods on the very same panels, page by page."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diffsensei.config.schema import EvaluationConfig
from diffsensei.evaluation.compared_methods import pairs
from diffsensei.evaluation.distribution_metrics import STATISTICS_SEED
from diffsensei.evaluation.item_metrics import ItemMetric, page_sums
from diffsensei.evaluation.results import Comparison
from diffsensei.evaluation.statistics import holm, paired_bootstrap, paired_effect_size, paired_swap_test
from diffsensei.seeding import numpy_stream


def compare_methods(
    items: pd.DataFrame, methods: Sequence[str], metrics: Sequence[ItemMetric], evaluation: EvaluationConfig
) -> list[Comparison]:
    """The methods pair by pair (`pairs`), on metrics that have single measurements."""
    return compare_pairs(items, pairs(list(methods)), metrics, evaluation)


def compare_pairs(
    items: pd.DataFrame,
    chosen: Sequence[tuple[str, str]],
    metrics: Sequence[ItemMetric],
    evaluation: EvaluationConfig,
) -> list[Comparison]:
    """Each (method, baseline) of ``chosen`` on each metric; p values are corrected for all of them together (Holm)."""
    raw = []
    for metric in metrics:
        for method, baseline in chosen:
            found = _compare(items, method, baseline, metric, evaluation)
            if found is not None:
                raw.append(found)
    corrected = holm([comparison.p_value for comparison in raw])
    return [comparison.replaced(p_holm=p) for comparison, p in zip(raw, corrected, strict=True)]


def _compare(
    items: pd.DataFrame, method: str, baseline: str, metric: ItemMetric, evaluation: EvaluationConfig
) -> Comparison | None:
    """Both methods over the panels (and characters) both were measured on; None where there are none."""
    paired = paired_page_sums(items[items["method"] == method], items[items["method"] == baseline], metric)
    if paired is None:
        return None
    pages, a, b = paired
    statistic = metric.statistic
    difference = float(statistic(a.sum(0)) - statistic(b.sum(0)))
    if not np.isfinite(difference):
        return None
    names = ("paired", metric.definition.name, method, baseline)
    interval = paired_bootstrap(
        a,
        b,
        statistic,
        resamples=evaluation.bootstrap_resamples,
        confidence=evaluation.confidence,
        rng=numpy_stream(STATISTICS_SEED, *names),
    )
    p_value = paired_swap_test(
        a, b, statistic, resamples=evaluation.bootstrap_resamples, rng=numpy_stream(STATISTICS_SEED, "swap", *names)
    )
    return Comparison(
        metric=metric.definition.name,
        method=method,
        baseline=baseline,
        difference=difference,
        low=interval.low,
        high=interval.high,
        p_value=p_value,
        p_holm=None,
        n_pages=len(pages),
        effect_size=paired_effect_size(a, b, statistic),
    )


def paired_page_sums(
    ours: pd.DataFrame, theirs: pd.DataFrame, metric: ItemMetric
) -> tuple[list[str], NDArray[np.float64], NDArray[np.float64]] | None:
    """Page ids (P) and both methods' sums (P, K) over the panels and characters that both were measured on.

    Each table has the rows of one method (`ITEM_COLUMNS`), of one run or of two. None where they share no measurement.
    """
    keys = ["metric", "seed", "page_id", "panel_id", "character"]
    first, second = (
        table[table["metric"].isin(metric.items) & (table["tp"].notna() | table["value"].notna())]
        .fillna({"character": ""})
        .set_index(keys)
        .sort_index()
        for table in (ours, theirs)
    )
    shared = first.index.intersection(second.index)
    if shared.empty:
        return None
    pages, a = page_sums(first.loc[shared].reset_index(), metric)
    _, b = page_sums(second.loc[shared].reset_index(), metric)
    return pages, a, b
