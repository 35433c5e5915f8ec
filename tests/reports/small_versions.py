"""Small versions of a report: measurements that are chosen, figures that follow from them as the score stage's do."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from diffsensei.config import config_digest, load_preset
from diffsensei.evaluation.comparability import with_digest
from diffsensei.evaluation.item_metrics import item_metrics, measurement_counts, page_sums
from diffsensei.evaluation.results import MethodInfo, MetricDefinition, MetricResult, Summary
from diffsensei.evaluation.statistics import cluster_bootstrap
from diffsensei.seeding import numpy_stream
from reports.origins import Machine, Source, StageIdentity, StageOrigin
from reports.versions import EvaluationSet, Version, write_version

CONFIG = load_preset("tiny", ["evaluation.bootstrap_resamples=200"])
PAGES, PANELS = 8, 2
METRICS = ("clip", "dino_c", "dialog_f1")
METHODS = ("sdxl_t2i", "diffsensei")


def measurements(shift: Mapping[tuple[str, str], float] | None = None, tp: int = 2) -> pd.DataFrame:
    """One row a panel, method and metric; values differ by page and panel, ``shift`` adds to (method, metric)."""
    rows: list[dict[str, Any]] = []
    for method in METHODS:
        for page in range(PAGES):
            for panel in range(PANELS):
                place = {"page_id": f"page{page}", "series": f"series{page % 2}", "panel_id": f"p{page}-{panel}"}
                for metric in METRICS:
                    value = 0.3 + 0.02 * page + 0.01 * panel + (shift or {}).get((method, metric), 0.0)
                    row = {"method": method, "seed": 0, "character": None, "metric": metric, "skipped": None}
                    counts = {"tp": tp, "fp": 1, "fn": page % 2} if metric == "dialog_f1" else {}
                    if counts:
                        value = 2 * tp / (2 * tp + counts["fp"] + counts["fn"])
                    rows.append(place | row | {"value": value, "tp": None, "fp": None, "fn": None} | counts)
    return pd.DataFrame(rows).astype({"tp": "Int64", "fp": "Int64", "fn": "Int64"})


def summarise(items: pd.DataFrame, judge: str = "a" * 64, benchmark: str = "b" * 64) -> Summary:
    """The figures of ``items``, and an FID that has no measurements of its own."""
    known = {metric.definition.name: metric for metric in item_metrics(CONFIG.evaluation)}
    chosen = [known[name] for name in METRICS]
    fid = MetricDefinition(
        name="fid", label="FID", definition="distance", unit="", higher_is_better=False, source="paper"
    )
    definitions = [with_digest(m.definition, {"judge": judge}, benchmark) for m in chosen]
    results = []
    for method in METHODS:
        for metric, definition in zip(chosen, definitions, strict=True):
            mine = items[(items["method"] == method) & (items["metric"] == definition.name)]
            _, sums = page_sums(mine, metric)
            interval = cluster_bootstrap(
                sums, metric.statistic, resamples=200, confidence=0.95, rng=numpy_stream(0, "test", definition.name)
            )
            used, total, skipped = measurement_counts(mine, metric)
            value = float(metric.statistic(sums.sum(0)))
            results.append(_result(method, definition, value, interval.low, interval.high, used, total, skipped))
        results.append(_result(method, fid, 20.0, 15.0, 25.0, 16, 16, {}))
    return Summary(
        metrics=(with_digest(fid, {"judge": judge}, benchmark), *definitions),
        methods=tuple(
            MethodInfo(name=name, label=name.upper(), role="method", description="drawn") for name in METHODS
        ),
        results=tuple(results),
        comparisons=(),
        num_series=2,
        num_pages=PAGES,
        num_panels=PAGES * PANELS,
        num_characters=0,
        num_dialogs=0,
        seeds=(0,),
        confidence=0.95,
        resamples=200,
        judges={"clip": "judge"},
        benchmark_digest=benchmark,
    )


def _result(
    method: str,
    metric: MetricDefinition,
    value: float,
    low: float | None,
    high: float | None,
    used: int,
    total: int,
    skipped: dict[str, int],
) -> MetricResult:
    return MetricResult(
        method=method,
        metric=metric.name,
        value=value,
        low=low,
        high=high,
        n_used=used,
        n_total=total,
        skipped=skipped,
        state="computed",
        definition=metric.definition,
        unit=metric.unit,
        higher_is_better=metric.higher_is_better,
        interval="page bootstrap, 200 resamples, percentile",
        by_seed={},
    )


def write_small_version(
    folder: Path,
    *,
    items: pd.DataFrame | None = None,
    judge: str = "a" * 64,
    benchmark: str = "b" * 64,
    overrides: tuple[str, ...] = (),
    digests: Mapping[str, str] | None = None,
    torch: str = "2.0",
    sets: tuple[str, ...] = ("main",),
) -> Version:
    """``version.json`` and the measurements in ``folder``; ``digests`` replace those of stages."""
    (folder / "downloads").mkdir(parents=True)
    measured = measurements() if items is None else items
    config = load_preset("tiny", ["evaluation.bootstrap_resamples=200", *overrides])
    chain = {"benchmark": [], "stage2": [], "generate_diffsensei": ["benchmark", "stage2"]}
    chain |= {"generate_sdxl_t2i": ["benchmark"], "score": ["benchmark", "generate_diffsensei", "generate_sdxl_t2i"]}
    known = {name: f"{place:064x}" for place, name in enumerate(chain)} | dict(digests or {})
    version = Version(
        name="small",
        version="1.0.0",
        preset="tiny",
        smoke=True,
        config=config.model_dump(mode="json"),
        config_digest=config_digest(config),
        verification="not built",
        sets=tuple(
            EvaluationSet(
                name="main" if name == "main" else "evaluation",
                label=name,
                summary=summarise(measured, judge, benchmark),
                score="score",
                benchmark="benchmark",
                drawn_by={"diffsensei": "generate_diffsensei", "sdxl_t2i": "generate_sdxl_t2i"},
            )
            for name in sets
        ),
        stages={
            name: StageOrigin(
                digest=known[name],
                inputs={given: known[given] for given in inputs},
                stage=StageIdentity(name=name, version=1, key="c" * 64),
                env=Machine(packages={"torch": torch}),
                git=Source(commit="f564502c0ffee"),
                created="2026-01-05T12:00:00",
            )
            for name, inputs in chain.items()
        },
    )
    for found in version.sets:
        measured.to_parquet(folder / found.items)
    write_version(version, folder)
    return version
