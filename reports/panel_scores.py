"""The single measurements of each panel: values, and why there is none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from diffsensei.evaluation.dialog_f1 import DIALOG_F1
from diffsensei.evaluation.results import MetricDefinition, Summary

LADDER = f"{DIALOG_F1.name}_at_"
"""Start of the names of Dialog F1 at further IoU thresholds."""
Entry = float | str | None
"""A value, or the reason that there is none; None where nothing was measured."""


@dataclass
class PanelScores:
    """What one drawing of a panel scored."""

    entries: dict[str, list[Entry]] = field(default_factory=dict)
    """Metric to its measurements: one, or one per requested character in their order."""
    dialogs: tuple[int, int, int] | None = None
    """Dialogs matched, found but not asked for, asked for but not found."""
    ladder: dict[str, Entry] = field(default_factory=dict)
    """IoU threshold to Dialog F1."""

    def value(self, metric: str) -> float | None:
        """Mean over characters of what was measured."""
        values = [entry for entry in self.entries.get(metric, ()) if isinstance(entry, float)]
        return sum(values) / len(values) if values else None


Scores = Mapping[tuple[str, int, str], PanelScores]
"""(method, evaluation seed, panel) to its scores."""

NOTHING = PanelScores()


def read_scores(items: pd.DataFrame) -> dict[tuple[str, int, str], PanelScores]:
    """All rows of ``items.parquet``, whose characters stand in the order of the request."""
    found: dict[tuple[str, int, str], PanelScores] = {}
    columns = ("method", "seed", "panel_id", "metric", "value", "skipped", "tp", "fp", "fn")
    for method, seed, panel, metric, value, skipped, tp, fp, fn in zip(
        *(items[name].tolist() for name in columns), strict=True
    ):
        scores = found.setdefault((method, seed, panel), PanelScores())
        entry = _entry(value, skipped)
        if metric.startswith(LADDER):
            scores.ladder[metric.removeprefix(LADDER)] = entry
            continue
        scores.entries.setdefault(metric, []).append(entry)
        if metric == DIALOG_F1.name and not pd.isna(tp):
            scores.dialogs = (int(tp), int(fp), int(fn))
    return found


def panel_metrics(summary: Summary, items: pd.DataFrame) -> list[MetricDefinition]:
    """The metrics that panels have values of, in the table's order."""
    measured = set(items["metric"].unique())
    return [m for m in summary.metrics if m.name in measured and not m.name.startswith(LADDER)]


def rounded(entries: Sequence[Entry]) -> Any:
    """As written into the report: a lone entry stands alone; values to four decimals."""
    short = [round(entry, 4) if isinstance(entry, float) else entry for entry in entries]
    return None if not short else short[0] if len(short) == 1 else short


def _entry(value: float, skipped: Any) -> Entry:
    if not pd.isna(value):
        return float(value)
    return None if pd.isna(skipped) else str(skipped)
