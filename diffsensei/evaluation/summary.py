"""From measurements to the table of a run: one figure with its interval per method and metric."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from diffsensei.config.schema import EvaluationConfig
from diffsensei.evaluation.benchmark import BenchmarkPanel
from diffsensei.evaluation.comparability import with_digest
from diffsensei.evaluation.compared_methods import METHODS
from diffsensei.evaluation.comparisons import compare_methods
from diffsensei.evaluation.distribution_metrics import (
    DISTRIBUTION_METRICS,
    STATISTICS_SEED,
    DistributionMetric,
    FeatureSet,
    Sampling,
    Sight,
)
from diffsensei.evaluation.fid import MIN_PANELS
from diffsensei.evaluation.item_metrics import ItemMetric, headline, item_metrics, measurement_counts, page_sums
from diffsensei.evaluation.judges import Judges, clip_name, distribution_name
from diffsensei.evaluation.measurements import NOT_GENERATED
from diffsensei.evaluation.results import (
    GROUND_TRUTH,
    SHUFFLED_TRUTH,
    MethodInfo,
    MetricDefinition,
    MetricResult,
    Summary,
)
from diffsensei.evaluation.sight import PanelFeatures, Vectors
from diffsensei.evaluation.state_accuracy import STATE_ACCURACY, readable
from diffsensei.evaluation.statistics import Interval, cluster_bootstrap
from diffsensei.foundations.judge_encoders import read_probe_accuracy
from diffsensei.seeding import numpy_stream

ALL_PANELS_MISSING = "no panel was generated"


def summarise(
    panels: Sequence[BenchmarkPanel],
    items: pd.DataFrame,
    sets: dict[tuple[str, int], PanelFeatures],
    judges: Judges,
    evaluation: EvaluationConfig,
    benchmark: str,
    said: Mapping[str, Mapping[str, Any]],
    only: Collection[str] = (),
) -> Summary:
    """The table of a run: every method by every metric (or those named ``only``), and pairs of methods compared.

    ``benchmark`` is the benchmark's digest (`benchmark_digest`), ``said`` what each method says of itself.
    """
    metrics = [metric for metric in all_metrics(evaluation) if not only or metric.definition.name in only]
    definitions = [_described(metric, judges.identities, evaluation, benchmark) for metric in metrics]
    methods = list(dict.fromkeys(method for method, _ in sets))
    results = []
    for method in methods:
        for metric, definition in zip(metrics, definitions, strict=True):
            if metric.judge in judges.missing:
                state = f"not computed: {judges.missing[metric.judge]}"
                results.append(_blank(method, definition, len(panels), state))
            elif isinstance(metric, DistributionMetric):
                results.append(_distribution_result(method, metric, definition, panels, sets, evaluation))
            else:
                results.append(_item_result(method, metric, definition, items, evaluation))
    of_items = [metric for metric in metrics if isinstance(metric, ItemMetric)]
    generating = [method for method in methods if method in METHODS]
    return Summary(
        metrics=tuple(definitions),
        methods=tuple(_info(name, said.get(name, {})) for name in methods),
        not_drawn=tuple(_info(name, {}) for name in METHODS if name not in said),
        results=tuple(results),
        comparisons=tuple(compare_methods(items, generating, headline(of_items), evaluation)),
        num_series=len({panel.series for panel in panels}),
        num_pages=len({panel.page_id for panel in panels}),
        num_panels=len(panels),
        num_characters=sum(len(panel.characters) for panel in panels),
        num_dialogs=sum(len(panel.dialogs) for panel in panels),
        seeds=evaluation.seeds,
        confidence=evaluation.confidence,
        resamples=evaluation.bootstrap_resamples,
        judges={
            **{clip_name(i): name for i, name in enumerate((evaluation.judges.clip, *evaluation.judges.further_clip))},
            "dino": evaluation.judges.dino,
            "dialog_detector": evaluation.judges.dialog_detector,
            "states": evaluation.judges.states,
            "fid_features": distribution_name(evaluation.judges),
            "fit": evaluation.judges.fit,
        },
        benchmark_digest=benchmark,
    )


def all_metrics(evaluation: EvaluationConfig) -> list[DistributionMetric | ItemMetric]:
    """Every metric under ``evaluation``, in the order of columns."""
    return sorted(
        (*DISTRIBUTION_METRICS, *item_metrics(evaluation)), key=lambda metric: GROUPS.index(metric.definition.group)
    )


def define_metrics(
    evaluation: EvaluationConfig, identities: Mapping[str, str], benchmark: str
) -> tuple[MetricDefinition, ...]:
    """The columns of a `Summary` before anything is scored; ``identities`` as `identify_judges` gives them."""
    return tuple(_described(metric, identities, evaluation, benchmark) for metric in all_metrics(evaluation))


GROUPS = ("headline", "distribution", "variant", "manga")
"""The order of columns."""


def _described(
    metric: DistributionMetric | ItemMetric, identities: Mapping[str, str], evaluation: EvaluationConfig, benchmark: str
) -> MetricDefinition:
    """The definition with what the configuration adds to it, in words and as parameters."""
    definition, chosen = metric.definition, evaluation.judges
    parameters: dict[str, str | float] = {"judge": identities.get(metric.judge, "none")}
    words = ""
    if metric.judge == "distribution":
        words = f"; features: {distribution_name(chosen)}"
    elif metric.judge.startswith("clip"):
        number = int(metric.judge.removeprefix("clip").removeprefix("_") or 1)
        words = f"; {(chosen.clip, *chosen.further_clip)[number - 1]}, fit {chosen.fit}"
    elif metric.judge == "dino":
        words = f"; {chosen.dino}, fit {chosen.fit}"
    if isinstance(metric, DistributionMetric):
        if metric.judge in CODED:
            parameters["jpeg_quality"] = evaluation.jpeg_quality or "none"
        if evaluation.jpeg_quality and metric.judge in CODED:
            words += f"; both sides through JPEG of quality {evaluation.jpeg_quality}"
    elif metric.judge == "dino" and metric.definition.name != "dino_i":
        parameters["min_crop_side"] = evaluation.min_crop_side
        words += f"; crops of at least {evaluation.min_crop_side} px"
    elif metric.judge == "states":
        parameters["min_crop_side"] = evaluation.min_crop_side
        words = f"; {chosen.states}"
        if definition.name == STATE_ACCURACY.name:
            words += _readable_in_words(chosen.states)
    elif metric.judge in ("detector", "characters"):
        parameters["scope"] = evaluation.detection_scope
        words = f"; {chosen.dialog_detector}, looking at each {evaluation.detection_scope}"
        if metric.judge == "detector":
            parameters |= {"threshold": evaluation.detection_threshold, "dialogs": evaluation.dialog_truth}
            words += f", at score {evaluation.detection_threshold:g}; {evaluation.dialog_truth} dialogs"
        if definition.name == "dialog_f1":
            parameters["iou"] = evaluation.iou_threshold
            words = f" {evaluation.iou_threshold:g}{words}"
    return with_digest(definition.replaced(definition=definition.definition + words), parameters, benchmark)


def _readable_in_words(reference: str) -> str:
    """Which attributes the probe reads well, and how often it is right about the others; "" of what is no probe."""
    try:
        accuracy = read_probe_accuracy(reference)
    except (ValueError, OSError):
        return ""
    counted = readable(accuracy)
    left_out = ", ".join(f"{name} ({value:.2f})" for name, value in accuracy.items() if name not in counted)
    said = f", reading well: {', '.join(counted) or 'none'}"
    return f"{said}; right too seldom on true crops to enter the mean: {left_out}" if left_out else said


CODED = ("distribution", "first_pool")
"""The judges that see panels through JPEG where that is asked for."""


def _info(name: str, said: Mapping[str, Any]) -> MethodInfo:
    if name == GROUND_TRUTH:
        text = "oracle: the true panels, scored as if they were generated"
        return MethodInfo(name=name, label="Ground truth", role="oracle", description=text)
    if name == SHUFFLED_TRUTH:
        text = "floor: for each request, another true panel of the same series"
        return MethodInfo(name=name, label="Shuffled truth", role="floor", description=text)
    label, text = METHODS[name]
    return MethodInfo(
        name=name,
        label=label,
        role="method",
        description=text,
        consumes=tuple(said.get("consumes", ())),
        deviations=tuple(said.get("deviations", ())),
    )


# ---------------------------------------------------------------- one cell


def _item_result(
    method: str,
    metric: ItemMetric,
    definition: MetricDefinition,
    items: pd.DataFrame,
    evaluation: EvaluationConfig,
) -> MetricResult:
    mine = items[(items["method"] == method) & items["metric"].isin(metric.items)]
    used = mine[mine["skipped"].isna()]
    n_used, n_total, skipped = measurement_counts(mine, metric)
    blank = _blank(method, definition, n_total, "computed").replaced(n_used=n_used, skipped=skipped)
    _, columns = page_sums(used, metric)
    value = float(metric.statistic(columns.sum(0)))
    if not np.isfinite(value):
        why = ALL_PANELS_MISSING if set(blank.skipped) == {NOT_GENERATED} else "no measurement is left"
        return blank.replaced(state=f"not computed: {why}")
    interval = cluster_bootstrap(
        columns,
        metric.statistic,
        resamples=evaluation.bootstrap_resamples,
        confidence=evaluation.confidence,
        rng=numpy_stream(STATISTICS_SEED, "bootstrap", definition.name),
    )
    by_seed = {
        str(seed): float(metric.statistic(page_sums(part, metric)[1].sum(0))) for seed, part in used.groupby("seed")
    }
    return _with_seeds(blank, by_seed).replaced(
        value=value,
        low=interval.low,
        high=interval.high,
        interval=f"page bootstrap, {evaluation.bootstrap_resamples} resamples, percentile",
    )


def _distribution_result(
    method: str,
    metric: DistributionMetric,
    definition: MetricDefinition,
    panels: Sequence[BenchmarkPanel],
    sets: dict[tuple[str, int], PanelFeatures],
    evaluation: EvaluationConfig,
) -> MetricResult:
    _, pages = np.unique(np.array([panel.page_id for panel in panels]), return_inverse=True)
    truth = _feature_set(sets[GROUND_TRUTH, evaluation.seeds[0]], metric.judge, pages)
    sampling = Sampling(int(pages.max()) + 1, evaluation.confidence, evaluation.bootstrap_resamples)
    values: dict[str, float] = {}
    interval, how, first = Interval(None, None), "none", 0.0
    n_used = n_total = 0
    for (name, seed), seen in sets.items():
        if name != method:
            continue
        n_total += len(panels)
        n_used += sum(seen.present)
        if sum(seen.present) < MIN_PANELS or len(panels) < MIN_PANELS:
            continue
        found = metric.compute(_feature_set(seen, metric.judge, pages), truth, sampling)
        if not np.isfinite(found.value):
            continue
        if not values:
            interval, how, first = found.interval, found.how, found.value
        values[str(seed)] = found.value
    skipped = {NOT_GENERATED: n_total - n_used} if n_total > n_used else {}
    blank = _blank(method, definition, n_total, "computed").replaced(n_used=n_used, skipped=skipped)
    if not values:
        return blank.replaced(state=f"not computed: needs at least {MIN_PANELS} panels, for page means on one page")
    value = float(np.mean(list(values.values())))
    return _with_seeds(blank, values).replaced(
        value=value,
        low=None if interval.low is None else interval.low + value - first,
        high=None if interval.high is None else interval.high + value - first,
        interval=how,
    )


def _feature_set(seen: PanelFeatures, judge: Sight, pages: np.ndarray) -> FeatureSet:
    columns: dict[Sight, Sequence[Vectors | None]] = {
        "distribution": seen.distribution,
        "first_pool": seen.first_pool,
        "clip": seen.clips[0],
        "dino": seen.dino,
    }
    there = [vector for vector in columns[judge] if vector is not None]
    return FeatureSet(np.stack(there) if there else np.zeros((0, 1)), pages[np.array(seen.present)])


def _with_seeds(result: MetricResult, by_seed: dict[str, float]) -> MetricResult:
    """``result`` with the figure of each seed and their spread, where there are several."""
    if len(by_seed) < 2:
        return result
    return result.replaced(by_seed=by_seed, seed_sd=float(np.std(list(by_seed.values()), ddof=1)))


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
