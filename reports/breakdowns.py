"""Figures of parts of a benchmark, as the score stage wrote them (`diffsensei.evaluation.breakdowns`).

No intervals, and many parts: some look good by chance. So nothing here is coloured or called better.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from diffsensei.evaluation.results import MIN_SHOWN, MethodInfo, MetricDefinition, Summary
from reports.results_table import ABSENT, figure_text, signed_text

FILE = "breakdowns.parquet"
FACTORS = {
    "series": "Series",
    "size": "Panel size",
    "aspect": "Panel shape",
    "characters": "Characters in the panel",
    "source": "Where references come from",
    "caption_length": "Length of the caption",
}
LEVELS = {"same_panel": "from this panel", "other_panel": "from another panel", "mixed": "both", "none": "none"}
ORDER = {
    name: place
    for place, name in enumerate(("none", "small", "short", "medium", "large", "long", "tall", "square", "wide"))
}
"""Levels with an order of their own; the others follow by name."""


@dataclass(frozen=True)
class Part:
    """One method's figure on one part."""

    value: str
    n: str
    delta: str
    """Against the baseline on the same part; empty where either has too few measurements."""
    few: bool


@dataclass(frozen=True)
class PartTable:
    """One metric over the levels of one factor: a row a level, a column a method."""

    metric: MetricDefinition
    rows: tuple[tuple[str, tuple[Part | None, ...]], ...]


@dataclass(frozen=True)
class Factor:
    name: str
    title: str
    tables: tuple[PartTable, ...]


@dataclass(frozen=True)
class Breakdowns:
    """``baseline`` is the label of the method that deltas are against."""

    methods: tuple[MethodInfo, ...]
    baseline: str
    factors: tuple[Factor, ...]
    min_shown: int


def read_breakdowns(score: Path, summary: Summary) -> Breakdowns | None:
    """The breakdowns beside a summary; None where the score stage wrote none."""
    path = score / FILE
    if not path.is_file():
        return None
    parts = pd.read_parquet(path)
    methods = tuple(info for info in summary.methods if (parts["method"] == info.name).any())
    generating = [info for info in methods if info.role == "method"]
    return Breakdowns(
        methods=methods,
        baseline=generating[0].label if generating else "",
        factors=tuple(_factors(parts, summary, methods)),
        min_shown=MIN_SHOWN,
    )


def _factors(parts: pd.DataFrame, summary: Summary, methods: Sequence[MethodInfo]) -> Iterator[Factor]:
    for name, title in FACTORS.items():
        of_factor = parts[parts["factor"] == name]
        tables = []
        for metric in summary.metrics:
            mine = of_factor[of_factor["metric"] == metric.name]
            if metric.group == "headline" and len(mine):
                tables.append(PartTable(metric, tuple(_rows(mine, methods))))
        if tables:
            yield Factor(name, title, tuple(tables))


def _rows(parts: pd.DataFrame, methods: Sequence[MethodInfo]) -> Iterator[tuple[str, tuple[Part | None, ...]]]:
    cells = {(str(row.level), str(row.method)): _part(row.value, row.n, row.delta) for row in parts.itertuples()}
    for level in sorted(parts["level"].astype(str).unique(), key=lambda level: (ORDER.get(level, len(ORDER)), level)):
        yield LEVELS.get(level, level), tuple(cells.get((level, info.name)) for info in methods)


def _part(value: float, n: int, delta: float) -> Part:
    text = ABSENT if pd.isna(value) else figure_text(value)
    return Part(text, f"n = {n}", "" if pd.isna(delta) else signed_text(delta), few=n < MIN_SHOWN)
