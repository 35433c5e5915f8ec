"""What a version of the data looks like in numbers, and how far another one is from it (D19).

Distances are population stability indices, PSI = sum (q - p) ln(q / p) over the bins of a histogram: 0 for equal
shares; credit scoring, where it comes from, takes 0.1 for a shift and 0.25 for another population.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from diffsensei.config.schema import ValidationConfig
from diffsensei.data.tables import boxes_of

EDGES: Mapping[str, tuple[float, ...]] = {
    "panels_per_page": (1, 3, 5, 7, 9, 11, 13, 16, 20, 30),
    "panel_side_px": (32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048),
    "page_width_px": (256, 512, 768, 1024, 1536, 2048, 3072, 4096),
    "characters_per_panel": (1, 2, 3, 4, 5, 8),
    "dialogs_per_panel": (1, 2, 3, 4, 5, 8),
    "caption_tokens": (10, 20, 30, 40, 50, 60, 75, 100, 150, 200),
}
"""Inner edges of the histograms; each has a bin below and one above. Fixed, so that versions can be compared."""
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
FLOOR = 1e-4
"""Least share of a bin in a distance: an empty bin would make it infinite."""


def _distribution(values: ArrayLike, name: str) -> dict[str, Any]:
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    counts = np.bincount(np.searchsorted(EDGES[name], known, side="right"), minlength=len(EDGES[name]) + 1)
    return {
        "count": len(known),
        "mean": round(float(known.mean()), 4) if len(known) else None,
        "quantiles": np.quantile(known, QUANTILES).round(2).tolist() if len(known) else [],
        "edges": list(EDGES[name]),
        "histogram": counts.tolist(),
    }


def compute_statistics(pages: pd.DataFrame, panels: pd.DataFrame) -> dict[str, Any]:
    """Statistics of the accepted tables: distributions, and per series how many pages and panels it has.

    ``panels`` has ``caption_tokens`` (NaN where they were not counted).
    """
    boxes = boxes_of(panels)
    tokens = panels["caption_tokens"].to_numpy(dtype=np.float64)
    values: dict[str, ArrayLike] = {
        "panels_per_page": panels.groupby("page_id").size().reindex(pages["page_id"], fill_value=0).to_numpy(),
        "panel_side_px": np.sqrt(np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 0.0)),
        "page_width_px": pages["width"].to_numpy(dtype=np.float64),
        "characters_per_panel": panels["num_characters"],
        "dialogs_per_panel": panels["num_dialogs"],
        "caption_tokens": tokens,
    }
    truncated = panels["truncated_tokens"].to_numpy(dtype=np.float64)
    series = pages.set_index("page_id")["series"]
    panels_of = panels["page_id"].map(series).value_counts()
    return {
        "pages": len(pages),
        "panels": len(panels),
        "distributions": {name: _distribution(column, name) for name, column in values.items()},
        "share_of_captions_truncated": (
            round(float((truncated > 0).mean()), 4) if np.isfinite(truncated).any() else None
        ),
        "series": {
            name: {"pages": int(count), "panels": int(panels_of.get(name, 0))}
            for name, count in sorted(pages["series"].value_counts().items())
        },
    }


@dataclass(frozen=True)
class Drift:
    """How far one distribution is from that of the version compared with; ``severity`` by the configured thresholds."""

    name: str
    distance: float
    mean: float | None
    mean_before: float | None
    severity: Literal["ok", "warning", "stop"]


def population_stability(before: Sequence[float], after: Sequence[float]) -> float:
    """PSI of two histograms over the same bins, symmetric, 0 for equal shares."""
    p, q = (np.maximum(np.asarray(counts, dtype=np.float64) / max(sum(counts), 1), FLOOR) for counts in (before, after))
    return float(((q - p) * np.log(q / p)).sum())


def compare_statistics(before: Mapping[str, Any], after: Mapping[str, Any], config: ValidationConfig) -> list[Drift]:
    """The drift of every distribution that both versions have, and of the shares of their series."""
    drifts = []
    for name, new in after["distributions"].items():
        old = before["distributions"].get(name)
        if old and old["count"] and new["count"] and old["edges"] == new["edges"]:
            distance = population_stability(old["histogram"], new["histogram"])
            drifts.append(_drift(name, distance, new["mean"], old["mean"], config))
    names = sorted(before["series"].keys() | after["series"].keys())
    pages = [[version["series"].get(name, {"pages": 0})["pages"] for name in names] for version in (before, after)]
    drifts.append(_drift("pages_per_series", population_stability(*pages), None, None, config))
    return drifts


def _drift(name: str, distance: float, mean: float | None, before: float | None, config: ValidationConfig) -> Drift:
    severity: Literal["ok", "warning", "stop"] = "ok"
    if distance > config.drift_warning:
        severity = "stop" if distance > config.drift_stop else "warning"
    return Drift(name, round(distance, 4), mean, before, severity)


def drift_against(
    path: str, statistics: Mapping[str, Any], config: ValidationConfig, record: Path | None = None
) -> list[dict[str, Any]]:
    """The drift of ``statistics`` from the statistics.json at ``path``, as JSON; empty for "".

    Raises ValueError (one line) if the file is no statistics, or a distance exceeds ``drift_stop``; then ``record`` is
    where all distances and both statistics are left.
    """
    if not path:
        return []
    try:
        before = json.loads(Path(path).read_text())
        drifts = compare_statistics(before, statistics, config)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"data.validation.compare_with: expected the statistics.json of a validate stage, {path!r} is none "
            f"({type(error).__name__}: {error})"
        ) from None
    told = [asdict(drift) for drift in drifts if math.isfinite(drift.distance)]
    beyond = [f"{drift.name} {drift.distance:.2f}" for drift in drifts if drift.severity == "stop"]
    if beyond:
        if record is not None:
            record.write_text(json.dumps({"drift": told, "before": before, "after": statistics}, indent=1))
        raise ValueError(
            f"the data differ from {path} by more than data.validation.drift_stop={config.drift_stop:g} "
            f"(PSI: {', '.join(beyond)}); {f'see {record}, ' if record else ''}compare with another version, or raise "
            "the threshold"
        )
    return told
