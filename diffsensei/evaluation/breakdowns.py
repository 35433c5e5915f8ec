"""Figures of parts of the benchmark: by series, size, aspect, characters, where references come from, captions.

Recomputed from the single measurements, so nothing is judged again. With many parts some will look good by chance:
every figure carries its n, and differences to the baseline are withheld where a part has fewer than `MIN_SHOWN`.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from diffsensei.evaluation.benchmark import BenchmarkPanel
from diffsensei.evaluation.item_metrics import ItemMetric, measurement_counts, page_sums
from diffsensei.evaluation.results import MIN_SHOWN

ASPECTS = ((0.8, "tall"), (1.25, "square"), (float("inf"), "wide"))
"""Upper bounds of width / height."""
MANY_CHARACTERS = 3
TERCILES = ("small", "medium", "large")
CAPTIONS = ("short", "medium", "long")
NO_CAPTION = "none"


def factors(panels: Sequence[BenchmarkPanel]) -> pd.DataFrame:
    """One row per panel: ``panel_id`` and its part by each factor. Terciles are those of the benchmark."""
    words = [len(panel.caption.split()) for panel in panels]
    spoken = [count for count in words if count]
    areas = [panel.height * panel.width for panel in panels]
    return pd.DataFrame(
        {
            "panel_id": [panel.panel_id for panel in panels],
            "series": [panel.series for panel in panels],
            "size": _tercile_names(areas, areas, TERCILES),
            "aspect": [
                next(name for bound, name in ASPECTS if panel.width / panel.height <= bound) for panel in panels
            ],
            "characters": [_count_name(len(panel.characters)) for panel in panels],
            "source": [_source_name(panel) for panel in panels],
            "caption_length": [
                name if count else NO_CAPTION
                for name, count in zip(_tercile_names(words, spoken, CAPTIONS), words, strict=True)
            ],
        }
    )


def break_down(
    items: pd.DataFrame,
    panels: Sequence[BenchmarkPanel],
    metrics: Sequence[ItemMetric],
    baseline: str,
    min_shown: int = MIN_SHOWN,
) -> pd.DataFrame:
    """Columns metric, method, factor, level, value, n, num_pages, delta: one row for every part that has measurements.

    ``delta`` is value minus the baseline method's on the same part; NaN for the baseline, and where either has fewer
    than ``min_shown`` measurements.
    """
    table = factors(panels)
    rows = []
    for factor in table.columns.drop("panel_id"):
        levels = items["panel_id"].map(table.set_index("panel_id")[factor])
        for metric in metrics:
            mine = items[items["metric"].isin(metric.items) & items["skipped"].isna()].assign(level=levels)
            for (method, level), part in mine.groupby(["method", "level"], sort=True):
                pages, sums = page_sums(part, metric)
                rows.append(
                    {
                        "metric": metric.definition.name,
                        "method": str(method),
                        "factor": str(factor),
                        "level": str(level),
                        "value": float(metric.statistic(sums.sum(0))),
                        "n": measurement_counts(part, metric)[0],
                        "num_pages": len(pages),
                    }
                )
    columns = ["metric", "method", "factor", "level", "value", "n", "num_pages"]
    found = pd.DataFrame(rows, columns=columns)
    keys = ["metric", "factor", "level"]
    base = found[found["method"] == baseline][[*keys, "value", "n"]]
    joined = found.merge(base, on=keys, how="left", suffixes=("", "_base"))
    shown = (joined["n"] >= min_shown) & (joined["n_base"] >= min_shown) & (joined["method"] != baseline)
    delta = (joined["value"] - joined["value_base"]).where(shown)
    return found.assign(delta=delta.to_numpy(dtype=np.float64))


def _tercile_names(values: Sequence[int], of: Sequence[int], names: tuple[str, str, str]) -> list[str]:
    bounds = np.quantile(of, [1 / 3, 2 / 3]) if len(of) else np.zeros(2)
    return [names[int(index)] for index in np.searchsorted(bounds, values, side="left")]


def _count_name(count: int) -> str:
    return f"{MANY_CHARACTERS}+" if count >= MANY_CHARACTERS else str(count)


def _source_name(panel: BenchmarkPanel) -> str:
    kinds = {character.source_kind for character in panel.characters}
    return "none" if not kinds else kinds.pop() if len(kinds) == 1 else "mixed"
