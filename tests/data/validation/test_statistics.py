"""Distances between versions: by hand for small histograms; thresholds warn and stop."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diffsensei.config.presets import tiny
from diffsensei.data.validation.statistics import (
    EDGES,
    compare_statistics,
    compute_statistics,
    drift_against,
    population_stability,
)

CONFIG = tiny().data.validation


def statistics(tokens: float, series: tuple[str, ...] = ("a", "b")) -> dict:
    pages = pd.DataFrame({"page_id": [f"p{n}" for n in range(20)], "width": 800.0})
    pages["series"] = [series[n % len(series)] for n in range(20)]
    panels = pages[["page_id"]].merge(pd.DataFrame({"panel": range(4)}), how="cross")
    panels[["x1", "y1", "x2", "y2"]] = [0.0, 0.0, 300.0, 300.0]
    panels["caption_tokens"] = tokens
    panels["truncated_tokens"] = np.maximum(panels["caption_tokens"] - 75, 0)
    return compute_statistics(pages, panels.assign(num_characters=2, num_dialogs=0))


def test_by_hand() -> None:
    made = statistics(80.0)
    assert made["share_of_captions_truncated"] == 1.0
    assert made["series"] == {"a": {"pages": 10, "panels": 40}, "b": {"pages": 10, "panels": 40}}
    panels = made["distributions"]["panels_per_page"]
    assert (panels["count"], panels["mean"]) == (20, 4.0)
    assert panels["histogram"] == [0, 0, 20, *[0] * (len(EDGES["panels_per_page"]) - 2)]
    assert statistics(math.nan)["distributions"]["caption_tokens"]["count"] == 0
    assert statistics(math.nan)["share_of_captions_truncated"] is None


def test_population_stability_by_hand() -> None:
    assert population_stability([1, 3], [10, 30]) == 0
    expected = (0.5 - 0.25) * math.log(0.5 / 0.25) + (0.5 - 0.75) * math.log(0.5 / 0.75)
    assert population_stability([1, 3], [2, 2]) == pytest.approx(expected)
    assert population_stability([2, 2], [1, 3]) == pytest.approx(expected)
    assert math.isfinite(population_stability([1, 0], [0, 1]))


def test_drift_warns_and_stops(tmp_path: Path) -> None:
    before = statistics(20.0)
    path = tmp_path / "statistics.json"
    path.write_text(json.dumps(before))
    assert {drift["severity"] for drift in drift_against(str(path), before, CONFIG)} == {"ok"}
    patient = CONFIG.replaced(drift_stop=1e3)
    severities = {drift.name: drift.severity for drift in compare_statistics(before, statistics(90.0), patient)}
    assert severities.pop("caption_tokens") == "warning"
    assert set(severities.values()) == {"ok"}
    with pytest.raises(ValueError, match=r"drift_stop=0\.25 \(PSI: caption_tokens"):
        drift_against(str(path), statistics(90.0), CONFIG)
    with pytest.raises(ValueError, match="pages_per_series"):
        drift_against(str(path), statistics(20.0, ("a", "c")), CONFIG)
    assert drift_against("", before, CONFIG) == []


def test_a_stop_leaves_its_particulars(tmp_path: Path) -> None:
    before, after = statistics(20.0), statistics(90.0)
    path, record = tmp_path / "statistics.json", tmp_path / "drift.json"
    path.write_text(json.dumps(before))
    assert drift_against(str(path), before, CONFIG, record)
    assert not record.exists()
    with pytest.raises(ValueError, match=f"see {record}, compare with another version"):
        drift_against(str(path), after, CONFIG, record)
    left = json.loads(record.read_text())
    (stop,) = (drift for drift in left["drift"] if drift["severity"] == "stop")
    assert (stop["name"], stop["mean_before"], stop["mean"]) == ("caption_tokens", 20.0, 90.0)
    assert (left["before"], left["after"]) == (before, after)


@pytest.mark.parametrize("content", [None, "", "[]", "{}", "\0"])
def test_something_else_than_statistics(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "statistics.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match="compare_with") as refused:
        drift_against(str(path), statistics(20.0), CONFIG)
    assert "\n" not in str(refused.value)
