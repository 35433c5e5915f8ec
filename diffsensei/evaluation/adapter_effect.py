"""What the MLLM adapter changes (paper, Fig. 12: with and without it): text match and identity on the same panels.

The adapter is there to fit characters to the caption, at the price of some likeness to their reference. So each side is
measured by what sees it, panel by panel with and without, and tested in pairs (`compare_pairs`) with one
correction for all of them.
"""

from pathlib import Path
from typing import Literal

import pandas as pd

from diffsensei.config.base import Config
from diffsensei.config.schema import EvaluationConfig
from diffsensei.evaluation.comparisons import compare_pairs
from diffsensei.evaluation.item_metrics import item_metrics
from diffsensei.evaluation.results import Comparison, MetricDefinition, MetricResult, read_summary

Aspect = Literal["text match", "identity"]
ASPECTS: dict[str, Aspect] = {
    "clip": "text match",
    "state_accuracy": "text match",
    "dino_c": "identity",
    "dino_c_source": "identity",
    "identity_accuracy": "identity",
}
"""Metric -> what it tells of."""
WITHOUT, WITH = "without", "with"


class AdapterMeasure(Config):
    """One metric without the adapter and with it."""

    aspect: Aspect
    metric: MetricDefinition
    without: MetricResult
    with_adapter: MetricResult
    comparison: Comparison | None
    """``with`` minus ``without`` on what both were measured on, corrected (Holm) for all of an effect's measures; None
    where nothing was."""


def adapter_effect(
    without: tuple[Path, str], with_adapter: tuple[Path, str], evaluation: EvaluationConfig
) -> tuple[AdapterMeasure, ...]:
    """The metrics of `ASPECTS` that both scores have. Each side is a score folder and the method's name in it."""
    sides = {WITHOUT: without, WITH: with_adapter}
    summaries = {side: read_summary(folder) for side, (folder, _) in sides.items()}
    metrics = [metric for metric in item_metrics(evaluation) if metric.definition.name in ASPECTS]
    items = pd.concat([_items(folder, method, side) for side, (folder, method) in sides.items()])
    pairs = {pair.metric: pair for pair in compare_pairs(items, [(WITH, WITHOUT)], metrics, evaluation)}
    described = {metric.name: metric for metric in summaries[WITH].metrics}
    measures = []
    for name, aspect in ASPECTS.items():
        off, on = (summaries[side].result(method, name) for side, (_, method) in sides.items())
        if off is not None and on is not None:
            measures.append(
                AdapterMeasure(
                    aspect=aspect,
                    metric=described[name],
                    without=off,
                    with_adapter=on,
                    comparison=pairs.get(name),
                )
            )
    return tuple(measures)


def _items(score: Path, method: str, side: str) -> pd.DataFrame:
    items = pd.read_parquet(score / "items.parquet")
    return items[items["method"] == method].assign(method=side)
