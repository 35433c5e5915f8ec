import numpy as np
import pandas as pd
import pytest

from diffsensei.evaluation.benchmark import BenchmarkCharacter, BenchmarkPanel
from diffsensei.evaluation.breakdowns import break_down, factors
from diffsensei.evaluation.item_metrics import ITEM_METRICS

CLIP = [metric for metric in ITEM_METRICS if metric.definition.name == "clip"]


def _panel(
    index: int, *, characters: int = 0, kinds=("other_panel",), size=(40, 40), caption="one two"
) -> BenchmarkPanel:
    people = tuple(
        BenchmarkCharacter(
            id="a",
            box=(0, 0, 1, 1),
            reference="r.png",
            source_kind=kinds[slot % len(kinds)],
            place=f"p{index}:{slot}",
            source="p:0",
            type=0,
        )
        for slot in range(characters)
    )
    return BenchmarkPanel(
        panel_id=f"p{index}",
        page_id=f"page{index // 2}",
        series="s" if index % 2 else "t",
        panel_index=index % 2,
        height=size[0],
        width=size[1],
        caption=caption,
        characters=people,
        unfed_dialogs=(),
    )


def _items(values: dict[str, list[float]]) -> pd.DataFrame:
    rows = [
        {"method": method, "seed": 0, "page_id": f"page{i // 2}", "panel_id": f"p{i}", "metric": "clip", "value": value}
        for method, given in values.items()
        for i, value in enumerate(given)
    ]
    return pd.DataFrame(rows).assign(skipped=None, character=None, tp=pd.NA, fp=pd.NA, fn=pd.NA)


def test_every_panel_has_its_part():
    panels = [
        _panel(0, size=(100, 40)),
        _panel(1, characters=1, kinds=("same_panel",), caption=""),
        _panel(2, characters=2, kinds=("same_panel", "other_panel"), size=(40, 100)),
        _panel(3, characters=4, size=(10, 10), caption="a b c d e"),
    ]
    table = factors(panels)
    assert list(table["aspect"]) == ["tall", "square", "wide", "square"]
    assert list(table["characters"]) == ["0", "1", "2", "3+"]
    assert list(table["source"]) == ["none", "same_panel", "mixed", "other_panel"]
    assert list(table["size"])[3] == "small"
    assert list(table["caption_length"])[1] == "none"
    assert list(table["caption_length"])[3] == "long"


def test_parts_add_up_and_differences_need_enough_measurements():
    panels = [_panel(index, characters=int(index < 4)) for index in range(30)]
    values = {"base": [0.2] * 30, "ours": list(np.linspace(0, 1, 30))}
    found = break_down(_items(values), panels, CLIP, "base", min_shown=20).set_index(["factor", "level", "method"])
    none, one = found.loc["characters", "0", "ours"], found.loc["characters", "1", "ours"]
    assert (none["n"], one["n"], none["num_pages"]) == (26, 4, 13)
    assert none["value"] == pytest.approx(np.mean(values["ours"][4:]))
    assert none["delta"] == pytest.approx(none["value"] - 0.2)
    assert np.isnan(one["delta"])
    assert np.isnan(found.loc["characters", "0", "base"]["delta"])
    assert found.loc["series"].groupby("method")["n"].sum().to_dict() == {"base": 30, "ours": 30}


def test_nothing_measured_is_an_empty_table():
    assert break_down(_items({"base": []}).reindex(columns=list(_items({"a": [1.0]}))), [_panel(0)], CLIP, "base").empty
