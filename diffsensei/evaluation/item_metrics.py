"""The metrics with a value per panel or character: one line in `ITEM_METRICS` each.

Each is a function of sums over its rows in ``items.parquet``, so a page is one row of sums (`statistics`), and figures,
intervals, tests and breakdowns are re-aggregations that need no model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diffsensei.config.schema import EvaluationConfig
from diffsensei.evaluation.character_layout import CHARACTER_COUNT, LAYOUT_IOU
from diffsensei.evaluation.clip_score import CLIP, further_clip
from diffsensei.evaluation.colour_purity import CHROMA
from diffsensei.evaluation.copy_paste import COPY_PASTE
from diffsensei.evaluation.dialog_f1 import COCO_THRESHOLDS, DIALOG_F1, DIALOG_F1_MEAN, dialog_f1_at, rows_at
from diffsensei.evaluation.dino_similarity import (
    DINO_C,
    DINO_C_PANELS,
    DINO_C_SOURCE,
    DINO_C_SOURCE_PANELS,
    DINO_I,
)
from diffsensei.evaluation.identity_accuracy import IDENTITY
from diffsensei.evaluation.results import MetricDefinition
from diffsensei.evaluation.state_accuracy import STATE_ACCURACY, STATE_PARTS
from diffsensei.evaluation.statistics import (
    Statistic,
    f1_of_counts,
    mean_f1_of_counts,
    ratio_of_sums,
    sums_by_page,
)

Kind = Literal["mean", "panel_mean", "f1", "mean_f1"]
_STATISTICS: dict[Kind, Statistic] = {
    "mean": ratio_of_sums,
    "panel_mean": ratio_of_sums,
    "f1": f1_of_counts,
    "mean_f1": mean_f1_of_counts,
}


@dataclass(frozen=True)
class ItemMetric:
    definition: MetricDefinition
    judge: str
    """Whose absence leaves it uncomputed; "" where it needs none."""
    kind: Kind
    items: tuple[str, ...]
    """The rows' metric names it is made of."""

    @property
    def statistic(self) -> Statistic:
        return _STATISTICS[self.kind]


def _mean(definition: MetricDefinition, judge: str) -> ItemMetric:
    return ItemMetric(definition, judge, "mean", (definition.name,))


ITEM_METRICS = (
    _mean(CLIP, "clip"),
    _mean(DINO_I, "dino"),
    _mean(DINO_C, "dino"),
    _mean(DINO_C_SOURCE, "dino"),
    ItemMetric(DIALOG_F1, "detector", "f1", (DIALOG_F1.name,)),
    ItemMetric(DINO_C_PANELS, "dino", "panel_mean", (DINO_C.name,)),
    ItemMetric(DINO_C_SOURCE_PANELS, "dino", "panel_mean", (DINO_C_SOURCE.name,)),
    ItemMetric(DIALOG_F1_MEAN, "detector", "mean_f1", tuple(rows_at(iou) for iou in COCO_THRESHOLDS)),
    _mean(COPY_PASTE, "dino"),
    _mean(IDENTITY, "dino"),
    _mean(STATE_ACCURACY, "states"),
    *(_mean(definition, "states") for definition in STATE_PARTS.values()),
    _mean(LAYOUT_IOU, "characters"),
    _mean(CHARACTER_COUNT, "characters"),
    _mean(CHROMA, ""),
)


def item_metrics(evaluation: EvaluationConfig) -> tuple[ItemMetric, ...]:
    """`ITEM_METRICS`, and one for every further CLIP model and every further IoU threshold of ``evaluation``."""
    clips = [
        _mean(further_clip(index, reference), f"clip_{index}")
        for index, reference in enumerate(evaluation.judges.further_clip, start=2)
    ]
    sweep = [
        ItemMetric(dialog_f1_at(iou), "detector", "f1", (rows_at(iou),)) for iou in sorted(set(evaluation.iou_sweep))
    ]
    return (*ITEM_METRICS, *clips, *sweep)


def page_sums(rows: pd.DataFrame, metric: ItemMetric) -> tuple[list[str], NDArray[np.float64]]:
    """The used rows of ``metric`` added up per page: page ids (P) and what `ItemMetric.statistic` takes (P, K)."""
    if metric.kind == "f1":
        return sums_by_page(list(rows["page_id"]), rows[["tp", "fp", "fn"]].to_numpy(dtype=np.float64))
    if metric.kind == "mean_f1":
        counts = rows[["tp", "fp", "fn"]].to_numpy(dtype=np.float64)
        place = {name: index for index, name in enumerate(metric.items)}
        spread = np.zeros((len(rows), len(metric.items), 3))
        spread[np.arange(len(rows)), [place[name] for name in rows["metric"]]] = counts
        return sums_by_page(list(rows["page_id"]), spread.reshape(len(rows), 3 * len(metric.items)))
    if metric.kind == "panel_mean":
        rows = rows.groupby(["seed", "page_id", "panel_id"], sort=True)["value"].mean().reset_index()
    values = np.stack([rows["value"].to_numpy(dtype=np.float64), np.ones(len(rows))], axis=1)
    return sums_by_page(list(rows["page_id"]), values)


def measurement_counts(rows: pd.DataFrame, metric: ItemMetric) -> tuple[int, int, dict[str, int]]:
    """n used, n in all, and how many were skipped by reason, in the units that ``metric`` averages over."""
    if metric.kind == "mean_f1":
        rows = rows[rows["metric"] == metric.items[0]]
    if metric.kind == "panel_mean" and len(rows):
        by_panel = rows.groupby(["seed", "panel_id"], sort=True)["skipped"]
        skipped = by_panel.first()[~by_panel.apply(lambda reasons: bool(reasons.isna().any()))]
        total = by_panel.ngroups
    else:
        skipped, total = rows["skipped"].dropna(), len(rows)
    reasons = skipped.value_counts()
    return total - len(skipped), total, {str(reason): int(count) for reason, count in sorted(reasons.items())}


def headline(metrics: Sequence[ItemMetric]) -> list[ItemMetric]:
    """Those whose differences are tested: the others would only make the correction for their number dearer."""
    return [metric for metric in metrics if metric.definition.group == "headline"]
