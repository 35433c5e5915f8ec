import pandas as pd
import pytest

from diffsensei.evaluation.results import ITEM_COLUMNS, MetricDefinition, read_summary
from reports.panel_scores import NOTHING, panel_metrics, read_scores, rounded


def _items(*rows):
    base = dict.fromkeys(ITEM_COLUMNS) | {"method": "ours", "seed": 0, "panel_id": "p", "value": float("nan")}
    frame = pd.DataFrame([base | row for row in rows], columns=list(ITEM_COLUMNS))
    return frame.astype({"value": "float64", "tp": "Int64", "fp": "Int64", "fn": "Int64"})


def test_characters_stay_in_order_and_reasons_beside_values():
    items = _items(
        {"metric": "dino_c", "character": "0:a", "value": 0.5},
        {"metric": "dino_c", "character": "1:b", "skipped": "crop under 8 px"},
        {"metric": "dino_c", "character": "2:a", "value": 0.25},
        {"metric": "clip", "skipped": "no caption"},
    )
    scores = read_scores(items)["ours", 0, "p"]
    assert scores.entries == {"dino_c": [0.5, "crop under 8 px", 0.25], "clip": ["no caption"]}
    assert scores.value("dino_c") == pytest.approx(0.375)
    assert scores.value("clip") is None
    assert scores.value("dino_i") is None


def test_dialogs_are_counted_and_their_thresholds_apart():
    items = _items(
        {"metric": "dialog_f1", "value": 0.5, "tp": 1, "fp": 2, "fn": 0},
        {"metric": "dialog_f1_at_0.50", "value": 0.5, "tp": 1, "fp": 2, "fn": 0},
        {"metric": "dialog_f1_at_0.95", "value": 0.0, "tp": 0, "fp": 3, "fn": 1},
    )
    scores = read_scores(items)["ours", 0, "p"]
    assert scores.dialogs == (1, 2, 0)
    assert scores.entries == {"dialog_f1": [0.5]}
    assert scores.ladder == {"0.50": 0.5, "0.95": 0.0}


def test_a_drawing_that_is_not_there_has_no_dialogs():
    scores = read_scores(_items({"metric": "dialog_f1", "skipped": "not generated"}))["ours", 0, "p"]
    assert scores.dialogs is None
    assert scores.entries["dialog_f1"] == ["not generated"]


def test_methods_seeds_and_panels_are_kept_apart():
    rows = [{"method": m, "seed": s, "panel_id": p, "metric": "clip", "value": 0.1} for m, s, p in _keys()]
    assert set(read_scores(_items(*rows))) == set(_keys())


def _keys():
    return [("a", 0, "p"), ("a", 1, "p"), ("b", 0, "p"), ("a", 0, "q")]


def test_entries_as_they_are_written():
    assert rounded([0.123456]) == 0.1235
    assert rounded([0.5, "no caption"]) == [0.5, "no caption"]
    assert rounded([]) is None
    assert NOTHING.value("clip") is None


def test_metrics_are_those_that_panels_have(make_run):
    run = make_run()
    summary, items = read_summary(run.arguments["score"]), pd.read_parquet(run.arguments["score"] / "items.parquet")
    further = MetricDefinition(
        name="dialog_f1_at_0.30",
        label="F1",
        definition="",
        unit="",
        higher_is_better=True,
        source="",
    )
    items.loc[items.index[0], "metric"] = further.name
    found = panel_metrics(summary.replaced(metrics=(further, *summary.metrics)), items)
    assert [metric.name for metric in found] == ["clip", "dino_i", "dino_c", "dialog_f1"]
