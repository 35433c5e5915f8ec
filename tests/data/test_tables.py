"""Flattening and measuring: indices stay, boxes within tolerance are clamped, nothing breaks on NaN."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from diffsensei.data.records import parse_page
from diffsensei.data.tables import SCHEMAS, boxes_of, flatten, measure_boxes, printable, share_inside_panel, write_table

PAGES = pd.DataFrame({"page_id": ["p"], "height": [100], "width": [200]})


def frame(box: list[float], caption: str = "a", **lists: list) -> dict:
    return {"bbox": box, "caption": caption, "characters": [], "dialogs": []} | lists


def tables(*frames: dict) -> dict[str, pd.DataFrame]:
    meta = {"url1": "u", "url2": "v", "width1": 100, "width2": 100}
    return flatten([("p", 7, parse_page({"image_path": "s/1", "frames": list(frames), "meta": meta}))])


def test_flatten_keeps_places_and_counts() -> None:
    characters = [{"id": 3, "bbox": [0, 0, 1, 1], "type": 2}, {"id": "3", "bbox": [1, 1, 2, 2]}]
    flat = tables(
        frame([0, 0, 9, 9]),
        frame([9, 0, 20, 9], "b\x00\ud800", characters=characters, dialogs=[{"bbox": [1, 2, 3, 4]}]),
    )
    panels = flat["panels"]
    assert panels["panel_id"].tolist() == ["p-0", "p-1"]
    assert panels["entry"].tolist() == [7, 7]
    assert panels["num_repeated_ids"].tolist() == [0, 1]  # the ids 3 and "3" are the same name
    assert panels["num_control_characters"].tolist() == [0, 2]
    assert flat["characters"][["character_id", "type", "box_index"]].values.tolist() == [["3", 2, 0], ["3", 0, 1]]
    assert boxes_of(flat["dialogs"]).tolist() == [[1, 2, 3, 4]]


def test_empty_tables_have_their_columns() -> None:
    flat = tables()
    for name, table in flat.items():
        measured = measure_boxes(table, PAGES, tolerance_px=2)
        assert measured.empty, name
        assert {"finite", "overshoot_px", "shorter_side", "aspect"} <= set(measured)
    assert len(share_inside_panel(flat["dialogs"], flat["panels"])) == 0


def test_measures() -> None:
    nan, inf = float("nan"), float("inf")
    boxes = [
        [10, 10, 60, 30],
        [-1.5, 0, 60, 30],
        [0, 0, 202, 101],
        [0, 0, 203, 50],
        [60, 10, 10, 30],
        [0, nan, 1, 1],
        [0, 0, inf, 9],
    ]
    measured = measure_boxes(tables(*(frame(box) for box in boxes))["panels"], PAGES, tolerance_px=2)
    np.testing.assert_array_equal(measured["finite"], [True] * 5 + [False] * 2)
    np.testing.assert_array_equal(measured["overshoot_px"], [0, 1.5, 2, 3, 0, nan, nan])
    np.testing.assert_array_equal(measured["shorter_side"], [20, 30, 100, 50, -50, nan, nan])
    np.testing.assert_array_equal(measured["aspect"], [0.4, 0.5, 0.5, 50 / 203, nan, nan, nan])
    np.testing.assert_array_equal(boxes_of(measured)[1:4], [[0, 0, 60, 30], [0, 0, 200, 100], [0, 0, 203, 50]])


def test_share_inside_panel() -> None:
    dialogs = [
        {"bbox": box}
        for box in ([0, 0, 10, 10], [5, 0, 15, 10], [50, 50, 60, 60], [9, 9, 1, 1], [0, 0, 0, float("nan")])
    ]
    flat = tables(frame([0, 0, 10, 10], dialogs=dialogs))
    share = share_inside_panel(flat["dialogs"], flat["panels"])
    np.testing.assert_array_equal(share, [1, 0.5, 0, np.nan, np.nan])


def test_written_tables_have_their_schema(tmp_path: Path) -> None:
    flat = tables(frame([0, 0, 9, 9], "plain"))
    for name, table in flat.items():
        write_table(name, table.assign(dhash="") if name == "panels" else table, tmp_path)
        assert pq.read_schema(tmp_path / f"{name}.parquet").equals(SCHEMAS[name])


def test_printable_survives_any_text(tmp_path: Path) -> None:
    assert printable("漫画 ok") == "漫画 ok"
    assert printable("a\ud800") == "a\\ud800"
