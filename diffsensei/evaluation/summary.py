"""From measurements to the table of a run: one figure with its interval per method and metric."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diffsensei.config.schema import EvaluationConfig
from diffsensei.evaluation.benchmark import BenchmarkPanel
from diffsensei.evaluation.clip_score import CLIP
from diffsensei.evaluation.comparisons import STATISTICS_SEED, compare_methods, page_sums, statistic_of
from diffsensei.evaluation.dialog_f1 import DIALOG_F1
from diffsensei.evaluation.dino_similarity import DINO_C, DINO_C_SOURCE, DINO_I
from diffsensei.evaluation.features import Judges
from diffsensei.evaluation.fid import FID, KID, MIN_PANELS, frechet_distance, kernel_distance
from diffsensei.evaluation.measurements import NOT_GENERATED, PanelFeatures
from diffsensei.evaluation.results import (
    GROUND_TRUTH,
    SHUFFLED_TRUTH,
    MethodInfo,
    MetricDefinition,
    MetricResult,
    Summary,
)
from diffsensei.evaluation.statistics import Interval, cluster_bootstrap, page_jackknife
from diffsensei.seeding import numpy_stream

METHODS = {
    "sdxl_t2i": ("SDXL text-to-image", "the pre-trained UNet; sees the caption only"),
    "diffsensei_stage1": ("DiffSensei without MLLM", "stage 1: caption, references, character and dialog boxes"),
    "diffsensei": ("DiffSensei", "stage 2: as stage 1, with the MLLM identity adapter"),
}
JUDGE_OF = {
    FID.name: "distribution",
    KID.name: "distribution",
    CLIP.name: "clip",
    DINO_I.name: "dino",
    DINO_C.name: "dino",
    DINO_C_SOURCE.name: "dino",
    DIALOG_F1.name: "detector",
}
ALL_PANELS_MISSING = "no panel was generated"


def summarise(
    panels: Sequence[BenchmarkPanel],
    items: pd.DataFrame,
    sets: dict[tuple[str, int], PanelFeatures],
    judges: Judges,
    evaluation: EvaluationConfig,
) -> Summary:
    """The table of a run: every method by every metric, and all pairs of methods compared."""
    definitions = _definitions(judges, evaluation)
    methods = list(dict.fromkeys(method for method, _ in sets))
    measured = [d for d in definitions if JUDGE_OF[d.name] != "distribution"]
    results = []
    for method in methods:
        for definition in definitions:
            judge = JUDGE_OF[definition.name]
            if judge in judges.missing:
                results.append(_blank(method, definition, len(panels), f"not computed: {judges.missing[judge]}"))
            elif judge == "distribution":
                results.append(_distribution_result(method, definition, panels, sets, evaluation))
            else:
                results.append(_item_result(method, definition, items, evaluation))
    return Summary(
        metrics=tuple(definitions),
        methods=tuple(_info(name) for name in methods),
        results=tuple(results),
        comparisons=tuple(compare_methods(items, [m for m in methods if m in METHODS], measured, evaluation)),
        num_series=len({panel.series for panel in panels}),
        num_pages=len({panel.page_id for panel in panels}),
        num_panels=len(panels),
        num_characters=sum(len(panel.characters) for panel in panels),
        num_dialogs=sum(len(panel.dialogs) for panel in panels),
        seeds=evaluation.seeds,
        confidence=evaluation.confidence,
        resamples=evaluation.bootstrap_resamples,
        judges={
            "clip": evaluation.judges.clip,
            "dino": evaluation.judges.dino,
            "dialog_detector": evaluation.judges.dialog_detector,
            "fid_features": judges.distribution_name,
            "fit": evaluation.judges.fit,
        },
    )


def _definitions(judges: Judges, evaluation: EvaluationConfig) -> list[MetricDefinition]:
    features = f"; features: {judges.distribution_name}"
    return [
        FID.replaced(definition=FID.definition + features),
        KID.replaced(definition=KID.definition + features),
        CLIP.replaced(definition=f"{CLIP.definition}; {evaluation.judges.clip}, fit {evaluation.judges.fit}"),
        DINO_I.replaced(definition=f"{DINO_I.definition}; {evaluation.judges.dino}, fit {evaluation.judges.fit}"),
        DINO_C.replaced(definition=f"{DINO_C.definition}; crops of at least {evaluation.min_crop_side} px"),
        DINO_C_SOURCE.replaced(
            definition=f"{DINO_C_SOURCE.definition}; crops of at least {evaluation.min_crop_side} px"
        ),
        DIALOG_F1.replaced(
            definition=f"{DIALOG_F1.definition} {evaluation.iou_threshold:g}; {evaluation.judges.dialog_detector} "
            f"at score {evaluation.detection_threshold:g}"
        ),
    ]


def _info(name: str) -> MethodInfo:
    if name == GROUND_TRUTH:
        text = "oracle: the true panels, scored as if they were generated"
        return MethodInfo(name=name, label="Ground truth", role="oracle", description=text)
    if name == SHUFFLED_TRUTH:
        text = "floor: for each request, another true panel of the same series"
        return MethodInfo(name=name, label="Shuffled truth", role="floor", description=text)
    label, text = METHODS[name]
    return MethodInfo(name=name, label=label, role="method", description=text)


# ---------------------------------------------------------------- one cell


def _item_result(
    method: str, definition: MetricDefinition, items: pd.DataFrame, evaluation: EvaluationConfig
) -> MetricResult:
    mine = items[(items["method"] == method) & (items["metric"] == definition.name)]
    used = mine[mine["skipped"].isna()]
    reasons = mine["skipped"].dropna().value_counts()
    blank = _blank(method, definition, len(mine), "computed").replaced(
        n_used=len(used), skipped={str(reason): int(count) for reason, count in sorted(reasons.items())}
    )
    _, columns = page_sums(used, definition)
    value = float(statistic_of(definition)(columns.sum(0)))
    if not np.isfinite(value):
        why = ALL_PANELS_MISSING if set(blank.skipped) == {NOT_GENERATED} else "no measurement is left"
        return blank.replaced(state=f"not computed: {why}")
    interval = cluster_bootstrap(
        columns,
        statistic_of(definition),
        resamples=evaluation.bootstrap_resamples,
        confidence=evaluation.confidence,
        rng=numpy_stream(STATISTICS_SEED, "bootstrap", definition.name),
    )
    by_seed = {
        str(seed): float(statistic_of(definition)(page_sums(part, definition)[1].sum(0)))
        for seed, part in used.groupby("seed")
    }
    return blank.replaced(
        value=value,
        low=interval.low,
        high=interval.high,
        interval=f"page bootstrap, {evaluation.bootstrap_resamples} resamples, percentile",
        by_seed=by_seed if len(by_seed) > 1 else {},
    )


def _distribution_result(
    method: str,
    definition: MetricDefinition,
    panels: Sequence[BenchmarkPanel],
    sets: dict[tuple[str, int], PanelFeatures],
    evaluation: EvaluationConfig,
) -> MetricResult:
    score = frechet_distance if definition.name == FID.name else kernel_distance
    floor = 0.0 if definition.name == FID.name else None
    truth = np.stack([v for v in sets[GROUND_TRUTH, evaluation.seeds[0]].distribution if v is not None])
    pages = np.array([panel.page_id for panel in panels])
    values: dict[str, float] = {}
    interval = Interval(None, None)
    n_used = n_total = 0
    for (name, seed), seen in sets.items():
        if name != method:
            continue
        there = np.array(seen.present)
        n_total += len(panels)
        n_used += int(there.sum())
        if there.sum() < MIN_PANELS or len(panels) < MIN_PANELS:
            continue
        generated = np.stack([v for v in seen.distribution if v is not None])
        values[str(seed)] = score(generated, truth)
        if interval.low is None:
            interval = _jackknife(score, generated, truth, pages, there, evaluation.confidence, floor)
    skipped = {NOT_GENERATED: n_total - n_used} if n_total > n_used else {}
    blank = _blank(method, definition, n_total, "computed").replaced(n_used=n_used, skipped=skipped)
    if not values:
        return blank.replaced(state=f"not computed: needs at least {MIN_PANELS} panels")
    value = float(np.mean(list(values.values())))
    first = next(iter(values.values()))
    return blank.replaced(
        value=value,
        low=None if interval.low is None else interval.low + value - first,
        high=None if interval.high is None else interval.high + value - first,
        interval="delete-one-page jackknife of the first seed, normal",
        by_seed=values if len(values) > 1 else {},
    )


def _jackknife(
    score: Callable[[NDArray[np.floating], NDArray[np.floating]], float],
    generated: NDArray[np.floating],
    truth: NDArray[np.floating],
    pages: NDArray[Any],
    there: NDArray[np.bool_],
    confidence: float,
    floor: float | None,
) -> Interval:
    def without(mask: NDArray[np.bool_]) -> float:
        kept = mask[there]
        if kept.sum() < MIN_PANELS or mask.sum() < MIN_PANELS:
            return float("nan")
        return score(generated[kept], truth[mask])

    interval = page_jackknife(list(pages), without, confidence=confidence, floor=floor)
    finite = interval.high is not None and bool(np.isfinite(interval.high))
    return interval if finite else Interval(None, None)


def _blank(method: str, definition: MetricDefinition, n_total: int, state: str) -> MetricResult:
    return MetricResult(
        method=method,
        metric=definition.name,
        value=None,
        low=None,
        high=None,
        n_used=0,
        n_total=n_total,
        skipped={} if state == "computed" else {state.removeprefix("not computed: "): n_total},
        state=state,
        definition=definition.definition,
        unit=definition.unit,
        higher_is_better=definition.higher_is_better,
        interval="none",
        by_seed={},
    )
