"""One rule against the items: superiority and non-inferiority, one-sided, by drawing whole pages.

Both methods are measured on the very same pages, so a resample draws pages and takes both along. A candidate passes
where the difference exceeds the threshold in all but a share alpha of the resamples. As every rule must pass, the
chance of releasing a candidate that misses any margin stays at alpha without a correction for their number.
Sources: Efron & Tibshirani 1993, chapters 13 and 15 (percentile intervals, tests); Berger 1982 (intersection-union
tests); FDA 2016, Non-Inferiority Clinical Trials, section III (margins).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from diffsensei.config.gate import AgainstMethod, AgainstPrevious, AgainstValue, GateRule
from diffsensei.config.schema import EvaluationConfig
from diffsensei.evaluation.comparability import comparable
from diffsensei.evaluation.comparisons import paired_page_sums
from diffsensei.evaluation.distribution_metrics import STATISTICS_SEED
from diffsensei.evaluation.item_metrics import ItemMetric, item_metrics, page_sums
from diffsensei.evaluation.measurements import NOT_GENERATED
from diffsensei.evaluation.results import MetricResult, Summary, read_summary
from diffsensei.evaluation.statistics import page_counts
from diffsensei.gate.certificate import RuleOutcome
from diffsensei.seeding import numpy_stream

Floats = NDArray[np.float64]


class Unfit(ValueError):
    """The rule cannot be tested on what there is; the message says why in words, and the rule fails."""


@dataclass(frozen=True)
class Scores:
    """A score stage's result: every measurement, and the table."""

    items: pd.DataFrame
    summary: Summary

    @classmethod
    def read(cls, folder: Path) -> "Scores":
        """From a folder with ``items.parquet`` and ``summary.json``. Raises ValueError where they are missing."""
        if not (folder / "items.parquet").is_file():
            raise ValueError(f"{folder} holds no benchmark result: items.parquet is missing; run the score stage")
        return cls(pd.read_parquet(folder / "items.parquet"), read_summary(folder))


def check_rule(rule: GateRule, scores: Scores, previous: Scores | None, evaluation: EvaluationConfig) -> RuleOutcome:
    """What the items say of ``rule``; ``previous``: the scores of the last release of another version, if any."""
    if isinstance(rule.against, AgainstPrevious) and previous is None:
        return RuleOutcome(rule=rule, state="no_baseline", detail="no other version is released")
    try:
        _require_measured(rule, scores)
        if isinstance(rule.against, AgainstPrevious) and previous is not None:
            reasons = comparable(scores.summary, previous.summary, rule.metric)
            if reasons:
                raise Unfit(f"not comparable with the previous release: {'; '.join(reasons)}")
        metric = next((m for m in item_metrics(evaluation) if m.definition.name == rule.metric), None)
        if metric is None:
            return _check_distribution(rule, scores, previous)
        return _check_items(rule, metric, scores, previous, evaluation)
    except Unfit as reason:
        return RuleOutcome(rule=rule, state="failed", detail=str(reason))


def _require_measured(rule: GateRule, scores: Scores) -> None:
    summary = scores.summary
    definition = next((metric for metric in summary.metrics if metric.name == rule.metric), None)
    if definition is None:
        known = ", ".join(metric.name for metric in summary.metrics)
        raise ValueError(f"gate rule {rule.name}: the benchmark has no metric {rule.metric!r}; known: {known}")
    if definition.higher_is_better != (rule.direction == "higher"):
        right = "higher" if definition.higher_is_better else "lower"
        raise ValueError(f"gate rule {rule.name}: {rule.metric} is better {right}, the rule says {rule.direction}")
    wanted = [rule.method, *([rule.against.method] if isinstance(rule.against, AgainstMethod) else [])]
    for method in wanted:
        cell = summary.result(method, rule.metric)
        if cell is None:
            raise Unfit(f"{method} was not drawn in this run")
        if cell.value is None:
            raise Unfit(f"{method} has no {rule.metric} ({cell.state})")
        absent = cell.skipped.get(NOT_GENERATED, 0)
        if absent:
            raise Unfit(f"{method} lacks {absent} of {cell.n_total} measurements: they were not generated")


def _check_items(
    rule: GateRule, metric: ItemMetric, scores: Scores, previous: Scores | None, evaluation: EvaluationConfig
) -> RuleOutcome:
    items = scores.items
    ours = items[items["method"] == rule.method]
    sign = 1.0 if rule.direction == "higher" else -1.0
    if isinstance(rule.against, AgainstValue):
        pages, mine = page_sums(ours[ours["metric"].isin(metric.items) & ours["skipped"].isna()], metric)
        theirs = None
    else:
        if isinstance(rule.against, AgainstPrevious):
            assert previous is not None
            other = previous.items[previous.items["method"] == rule.method]
        else:
            other = items[items["method"] == rule.against.method]
        paired = paired_page_sums(ours, other, metric)
        if paired is None:
            raise Unfit("no panel carries both figures")
        pages, mine, theirs = paired
    if len(pages) < max(2, rule.min_pages):
        raise Unfit(f"{len(pages)} pages carry the figure, the rule asks for {max(2, rule.min_pages)}")
    rng = numpy_stream(STATISTICS_SEED, "gate", rule.name)
    counts = page_counts(len(pages), evaluation.bootstrap_resamples, rng)

    def gain(weights: Floats) -> Floats:
        baseline = _fixed(rule) if theirs is None else metric.statistic(weights @ theirs)
        return np.asarray(sign * (metric.statistic(weights @ mine) - baseline))

    estimate = float(gain(np.ones((1, len(pages))))[0])
    if not np.isfinite(estimate):
        raise Unfit("the pages in common give no figure")
    drawn = gain(counts)
    drawn = drawn[np.isfinite(drawn)]
    threshold = _threshold(rule)
    low, high = np.quantile(drawn, [rule.alpha, 1 - rule.alpha])
    p_value = float((1 + np.sum(drawn <= threshold)) / (1 + len(drawn)))
    how = f"page bootstrap, {evaluation.bootstrap_resamples} resamples, percentile"
    return _outcome(rule, estimate, (float(low), float(high)), p_value, len(pages), how)


def _check_distribution(rule: GateRule, scores: Scores, previous: Scores | None) -> RuleOutcome:
    """FID and its kin have no items: both intervals as independent normals, which is wider than a paired test where
    the two distances rise and fall together."""
    ours = _cell(scores.summary, rule.method, rule.metric)
    if isinstance(rule.against, AgainstValue):
        baseline, variance = rule.against.value, 0.0
    else:
        summary = scores.summary
        method = rule.method
        if isinstance(rule.against, AgainstPrevious):
            assert previous is not None
            summary = previous.summary
        else:
            method = rule.against.method
        theirs = _cell(summary, method, rule.metric)
        baseline, variance = _value(theirs), _standard_error(theirs, summary) ** 2
    num_pages = scores.summary.num_pages
    if num_pages < rule.min_pages:
        raise Unfit(f"{num_pages} pages carry the figure, the rule asks for {rule.min_pages}")
    error = float(np.sqrt(_standard_error(ours, scores.summary) ** 2 + variance))
    estimate = (1.0 if rule.direction == "higher" else -1.0) * (_value(ours) - baseline)
    half = float(norm.ppf(1 - rule.alpha)) * error
    p_value = (
        float(norm.sf((estimate - _threshold(rule)) / error)) if error > 0 else float(estimate <= _threshold(rule))
    )
    how = "normal, from the intervals of both figures as if independent"
    return _outcome(rule, estimate, (estimate - half, estimate + half), p_value, num_pages, how)


def _outcome(
    rule: GateRule, estimate: float, interval: tuple[float, float], p_value: float, num_pages: int, how: str
) -> RuleOutcome:
    passed = p_value <= rule.alpha
    threshold = _threshold(rule)
    detail = ""
    if not passed:
        detail = (
            f"{rule.metric} of {rule.method} against {_named(rule)}: {estimate:+.3f} [{interval[0]:+.3f}, "
            f"{interval[1]:+.3f}], needed more than {threshold:+.3f} (p = {p_value:.3f}, alpha {rule.alpha:g})"
        )
    return RuleOutcome(
        rule=rule,
        state="passed" if passed else "failed",
        estimate=estimate,
        low=interval[0],
        high=interval[1],
        threshold=threshold,
        p_value=p_value,
        num_pages=num_pages,
        how=how,
        detail=detail,
    )


def _threshold(rule: GateRule) -> float:
    return rule.margin if rule.claim == "superior" else -rule.margin


def _fixed(rule: GateRule) -> float:
    assert isinstance(rule.against, AgainstValue)
    return rule.against.value


def _named(rule: GateRule) -> str:
    if isinstance(rule.against, AgainstMethod):
        return rule.against.method
    return "the previous release" if isinstance(rule.against, AgainstPrevious) else f"{rule.against.value:g}"


def _cell(summary: Summary, method: str, metric: str) -> MetricResult:
    cell = summary.result(method, metric)
    if cell is None:
        raise Unfit(f"{method} was not drawn in that run")
    return cell


def _value(cell: MetricResult) -> float:
    if cell.value is None:
        raise Unfit(f"{cell.method} has no {cell.metric} ({cell.state})")
    return cell.value


def _standard_error(cell: MetricResult, summary: Summary) -> float:
    """From the upper half of the interval: the lower end may be cut at 0."""
    if cell.high is None:
        raise Unfit(f"{cell.metric} of {cell.method} has no interval")
    return (cell.high - _value(cell)) / float(norm.ppf(0.5 + summary.confidence / 2))
