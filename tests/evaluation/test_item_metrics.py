import numpy as np
import pandas as pd
import pytest

from diffsensei.evaluation.item_metrics import ITEM_METRICS, headline, item_metrics, measurement_counts, page_sums

BY_NAME = {metric.definition.name: metric for metric in ITEM_METRICS}


def _rows(metric: str, rows: list[tuple[str, str, float | None, str | None]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["page_id", "panel_id", "value", "skipped"]).assign(metric=metric, seed=0)


def test_names_are_unique_and_only_the_headline_is_tested(evaluation):
    metrics = item_metrics(evaluation.replaced(iou_sweep=(0.3, 0.75, 0.3)))
    names = [metric.definition.name for metric in metrics]
    assert len(set(names)) == len(names)
    assert [m.definition.name for m in headline(metrics)] == ["clip", "dino_i", "dino_c", "dino_c_source", "dialog_f1"]


def test_a_crowd_weighs_as_much_as_one_in_the_panel_mean():
    rows = _rows("dino_c", [("a", "1", 0.0, None)] * 3 + [("a", "2", 1.0, None), ("b", "3", None, "crop under 16 px")])
    used = rows[rows["skipped"].isna()]
    for name, value in (("dino_c", 0.25), ("dino_c_panel_mean", 0.5)):
        metric = BY_NAME[name]
        assert metric.statistic(page_sums(used, metric)[1].sum(0)) == pytest.approx(value)
    assert measurement_counts(rows, BY_NAME["dino_c"]) == (4, 5, {"crop under 16 px": 1})
    assert measurement_counts(rows, BY_NAME["dino_c_panel_mean"]) == (2, 3, {"crop under 16 px": 1})


def test_the_mean_over_thresholds_adds_counts_first():
    """Two panels of one dialog each: both right up to 0.7, one of them up to 0.95: F1 is 1 five times, then 1/2."""
    metric = BY_NAME["dialog_f1_mean"]
    rows = [
        {"page_id": page, "metric": name, "skipped": None, "tp": int(right), "fp": int(not right), "fn": int(not right)}
        for index, name in enumerate(metric.items)
        for page, right in (("a", True), ("b", index < 5))
    ]
    pages, sums = page_sums(pd.DataFrame(rows), metric)
    assert pages == ["a", "b"]
    assert metric.statistic(sums.sum(0)) == pytest.approx((5 * 1 + 5 * 0.5) / 10)
    assert np.isnan(metric.statistic(np.zeros(30)))
