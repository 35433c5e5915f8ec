"""Paired comparisons: two methods on the very same panels, page by page."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diffsensei.config.schema import EvaluationConfig
from diffsensei.evaluation.dialog_f1 import DIALOG_F1
from diffsensei.evaluation.results import Comparison, MetricDefinition
from diffsensei.evaluation.statistics import (
    Statistic,
    f1_of_counts,
    holm,
    paired_bootstrap,
    paired_swap_test,
    ratio_of_sums,
    sums_by_page,
)
from diffsensei.seeding import numpy_stream

STATISTICS_SEED = 0
"""Resampling is no part of the experiment: its stream is fixed, so equal measurements give equal intervals."""


def compare_methods(
    items: pd.DataFrame, methods: Sequence[str], definitions: Sequence[MetricDefinition], evaluation: EvaluationConfig
) -> list[Comparison]:
    """Every later method against every earlier one, on metrics that have single measurements."""
    raw = []
    for definition in definitions:
        for baseline, method in combinations(methods, 2):
            found = _compare(items, method, baseline, definition, evaluation)
            if found is not None:
                raw.append(found)
    corrected = holm([comparison.p_value for comparison in raw])
    return [comparison.replaced(p_holm=p) for comparison, p in zip(raw, corrected, strict=True)]


def _compare(
    items: pd.DataFrame, method: str, baseline: str, definition: MetricDefinition, evaluation: EvaluationConfig
) -> Comparison | None:
    """Both methods over the panels (and characters) both were measured on; None where there are none."""
    keys = ["seed", "page_id", "panel_id", "character"]
    mine = items[(items["metric"] == definition.name) & (items["tp"].notna() | items["value"].notna())]
    ours, theirs = (
        mine[mine["method"] == name].fillna({"character": ""}).set_index(keys).sort_index()
        for name in (method, baseline)
    )
    shared = ours.index.intersection(theirs.index)
    if shared.empty:
        return None
    pages, a = page_sums(ours.loc[shared].reset_index(), definition)
    _, b = page_sums(theirs.loc[shared].reset_index(), definition)
    statistic = statistic_of(definition)
    difference = float(statistic(a.sum(0)) - statistic(b.sum(0)))
    if not np.isfinite(difference):
        return None
    names = ("paired", definition.name, method, baseline)
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
        metric=definition.name,
        method=method,
        baseline=baseline,
        difference=difference,
        low=interval.low,
        high=interval.high,
        p_value=p_value,
        p_holm=None,
        n_pages=len(pages),
    )


def page_sums(rows: pd.DataFrame, definition: MetricDefinition) -> tuple[list[str], NDArray[np.float64]]:
    """The measurements added up per page: page ids (P) and what `statistic_of` takes (P, K)."""
    if definition.name == DIALOG_F1.name:
        columns = rows[["tp", "fp", "fn"]].to_numpy(dtype=np.float64)
    else:
        columns = np.stack([rows["value"].to_numpy(dtype=np.float64), np.ones(len(rows))], axis=1)
    return sums_by_page(list(rows["page_id"]), columns)


def statistic_of(definition: MetricDefinition) -> Statistic:
    """Micro F1 for dialogs, the mean for everything else."""
    return f1_of_counts if definition.name == DIALOG_F1.name else ratio_of_sums
