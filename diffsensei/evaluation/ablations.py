"""The paper's ablations: which variants of a configuration its Tables 3, 4(a) and 4(b) compare, and what came out here.

A variant changes a few fields and is measured with one method. Which row of Table 3 has which parts follows from its
check marks and section 5.4: where a mask is missing, Fourier embeddings of the boxes take its place.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from diffsensei.config.base import Config
from diffsensei.config.schema import EvaluationConfig
from diffsensei.evaluation.adapter_effect import AdapterMeasure, adapter_effect
from diffsensei.evaluation.comparability import comparable
from diffsensei.evaluation.comparisons import compare_pairs
from diffsensei.evaluation.item_metrics import headline, item_metrics
from diffsensei.evaluation.results import Comparison, MetricDefinition, MetricResult, Summary, read_summary

Table = Literal["table_3", "table_4a", "table_4b"]


class Variant(Config):
    """One row of a table."""

    table: Table
    label: str
    method: Literal["diffsensei_stage1", "diffsensei"]
    overrides: tuple[str, ...]
    """``path=value`` of the configuration."""
    parts: tuple[str, ...] = ()
    """Table 3: which of `PARTS` it has."""
    baseline: bool = False
    """The full method as the paper uses it; the table's other rows are compared with it."""

    @property
    def key(self) -> str:
        """One word for this row, unique among `VARIANTS`."""
        return f"{self.table}_row_{1 + [v.label for v in VARIANTS if v.table == self.table].index(self.label)}"


PARTS = ("CM", "DM", "Magi", "MLLM")
"""Character mask, dialog mask, Magi's image encoder, MLLM adapter (the columns of Table 3)."""


def _parts(label: str, *parts: str) -> Variant:
    return Variant(
        table="table_3",
        label=label,
        method="diffsensei" if "MLLM" in parts else "diffsensei_stage1",
        overrides=(
            f"model.layout.characters={'mask' if 'CM' in parts else 'fourier'}",
            f"model.layout.dialogs={'mask' if 'DM' in parts else 'fourier'}",
            f"model.resampler.magi={'true' if 'Magi' in parts else 'false'}",
        ),
        parts=parts,
        baseline=parts == PARTS,
    )


def _values(table: Table, path: str, values: Sequence[float], used: float) -> tuple[Variant, ...]:
    return tuple(
        Variant(
            table=table, label=str(value), method="diffsensei", overrides=(f"{path}={value}",), baseline=value == used
        )
        for value in values
    )


VARIANTS: tuple[Variant, ...] = (
    _parts("no mask"),
    _parts("character mask", "CM"),
    _parts("+ dialog mask", "CM", "DM"),
    _parts("+ Magi encoder, no MLLM", "CM", "DM", "Magi"),
    _parts("+ MLLM adapter", *PARTS),
    *_values("table_4a", "data.conditioning.self_condition_rate", (0.0, 0.5, 1.0), used=0.5),
    *_values("table_4b", "sampling.adapter_blend", (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), used=0.4),
)
"""All rows, in the paper's order. Table 4(b) changes how is drawn, and so trains nothing."""


WITHOUT_ADAPTER, WITH_ADAPTER = (v for parts in (PARTS[:-1], PARTS) for v in VARIANTS if v.parts == parts)
"""The two rows of Table 3 that differ in the MLLM adapter alone: the paper's Fig. 12."""


class AblationRow(Config):
    """What one variant reached."""

    variant: Variant
    state: str
    """``computed``, or ``failed: <reason>``."""
    results: tuple[MetricResult, ...]
    """The figures of `Ablations.metrics`, in that order; none of a row that failed."""
    paper: tuple[float, ...]
    """The paper's figures, in the order of `Ablations.paper_metrics`."""


class Ablations(Config):
    """``ablations.json``: everything a report needs."""

    rows: tuple[AblationRow, ...]
    metrics: tuple[MetricDefinition, ...]
    """Empty where every row failed."""
    paper_metrics: tuple[str, ...]
    comparisons: dict[Table, tuple[Comparison, ...]]
    """Rows (by `Variant.key`) minus the table's baseline on the same panels, corrected (Holm) within each table."""
    adapter: tuple[AdapterMeasure, ...] = ()
    """What the MLLM adapter changes (Fig. 12); empty where one of its two rows failed."""
    num_panels: int
    num_pages: int
    seeds: tuple[int, ...]
    confidence: float
    resamples: int
    benchmark_digest: str


def collect_ablations(
    scores: dict[str, Path],
    failures: dict[str, str],
    evaluation: EvaluationConfig,
    paper_metrics: tuple[str, ...],
    paper: dict[str, tuple[float, ...]],
) -> Ablations:
    """The tables from the score folders of the rows that have one; ``failures`` gives the reason of the others.

    ``scores``, ``failures`` and ``paper`` (the printed figures) go by `Variant.key`.
    Raises ValueError where rows were measured on different benchmarks or with different definitions.
    """
    summaries = {key: read_summary(folder) for key, folder in scores.items()}
    _refuse_mixture(summaries)
    one = next(iter(summaries.values()), None)
    known = {metric.name: metric for metric in one.metrics} if one else {}
    metrics = tuple(known[name] for name in paper_metrics if name in known)
    rows = [
        _row(variant, summaries.get(variant.key), failures.get(variant.key, ""), metrics, paper[variant.key])
        for variant in VARIANTS
    ]
    return Ablations(
        rows=tuple(rows),
        metrics=metrics,
        paper_metrics=paper_metrics,
        comparisons=_comparisons(scores, evaluation, paper_metrics),
        adapter=_adapter(scores, evaluation),
        num_panels=one.num_panels if one else 0,
        num_pages=one.num_pages if one else 0,
        seeds=evaluation.seeds,
        confidence=evaluation.confidence,
        resamples=evaluation.bootstrap_resamples,
        benchmark_digest=one.benchmark_digest if one else "",
    )


def read_ablations(folder: Path) -> Ablations:
    """The result in ``folder``. Raises ValueError where there is none."""
    path = folder / "ablations.json"
    if not path.is_file():
        raise ValueError(f"{folder} holds no ablations: ablations.json is missing; run `diffsensei run ablations`")
    return Ablations.model_validate_json(path.read_text())


def _refuse_mixture(summaries: dict[str, Summary]) -> None:
    first = next(iter(summaries), "")
    for key, other in summaries.items():
        for metric in other.metrics:
            reasons = comparable(summaries[first], other, metric.name)
            if reasons:
                raise ValueError(f"rows {first} and {key} cannot stand in one table: {reasons[0]}; score both again")


def _row(
    variant: Variant,
    summary: Summary | None,
    failure: str,
    metrics: Sequence[MetricDefinition],
    paper: tuple[float, ...],
) -> AblationRow:
    if summary is None:
        return AblationRow(variant=variant, state=f"failed: {failure or 'no result'}", results=(), paper=paper)
    results = [summary.result(variant.method, metric.name) for metric in metrics]
    found = tuple(result for result in results if result is not None)
    if len(found) < len(metrics):
        raise ValueError(f"row {variant.key}: its scores have nothing of {variant.method}; score it again")
    return AblationRow(variant=variant, state="computed", results=found, paper=paper)


def _comparisons(
    scores: dict[str, Path], evaluation: EvaluationConfig, paper_metrics: tuple[str, ...]
) -> dict[Table, tuple[Comparison, ...]]:
    """On the measurements themselves, with every row as a method of its own."""
    found: dict[Table, tuple[Comparison, ...]] = {}
    metrics = [metric for metric in headline(item_metrics(evaluation)) if metric.definition.name in paper_metrics]
    for table in dict.fromkeys(variant.table for variant in VARIANTS):
        rows = [variant for variant in VARIANTS if variant.table == table and variant.key in scores]
        baseline = next((variant.key for variant in rows if variant.baseline), None)
        if baseline is None:
            continue
        items = pd.concat([_items(variant, scores[variant.key]) for variant in rows])
        chosen = [(variant.key, baseline) for variant in rows if variant.key != baseline]
        found[table] = tuple(compare_pairs(items, chosen, metrics, evaluation))
    return found


def _adapter(scores: dict[str, Path], evaluation: EvaluationConfig) -> tuple[AdapterMeasure, ...]:
    rows = (WITHOUT_ADAPTER, WITH_ADAPTER)
    if not all(variant.key in scores for variant in rows):
        return ()
    without, with_adapter = ((scores[variant.key], variant.method) for variant in rows)
    return adapter_effect(without, with_adapter, evaluation)


def _items(variant: Variant, score: Path) -> pd.DataFrame:
    items = pd.read_parquet(score / "items.parquet")
    return items[items["method"] == variant.method].assign(method=variant.key)
