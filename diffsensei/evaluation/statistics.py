"""How sure a number is: intervals and paired tests that respect that panels of one page belong together.

Every metric that is a mean or an F1 is a function of sums: (sum of values, count), or (tp, fp, fn). So one page is
one row of sums, a resample is a vector of page counts, and 2000 resamples are one matrix product. FID is no such
function: its interval is a jackknife, because drawing pages twice makes a set look less varied than
it is and biases every Frechet distance.
Sources: Efron & Tibshirani 1993, chapters 11 (jackknife) and 13 (percentile interval); Good 2005 (permutation);
Holm 1979.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""Sums (..., K) to figures (...); 0/0 is NaN."""

EXACT_PAGES = 12
"""Up to so many pages, all 2**pages label swaps are tried instead of a sample."""


@dataclass(frozen=True)
class Interval:
    low: float | None
    high: float | None


def ratio_of_sums(sums: Floats) -> Floats:
    """Mean from (..., 2) sums of values and counts."""
    return _divide(sums[..., 0], sums[..., 1])


def f1_of_counts(sums: Floats) -> Floats:
    """Micro F1 = 2 tp / (2 tp + fp + fn) from (..., 3) sums of tp, fp, fn."""
    return _divide(2 * sums[..., 0], 2 * sums[..., 0] + sums[..., 1] + sums[..., 2])


def sums_by_page(page_ids: Sequence[str], columns: Floats) -> tuple[list[str], Floats]:
    """Rows (n, K) added up per page: sorted page ids (P) and sums (P, K)."""
    pages, inverse = np.unique(np.asarray(page_ids, dtype=object).astype(str), return_inverse=True)
    sums = np.zeros((len(pages), columns.shape[1]))
    np.add.at(sums, inverse, columns)
    return [str(page) for page in pages], sums


def page_counts(num_pages: int, resamples: int, rng: np.random.Generator) -> Floats:
    """How often each page is drawn in each resample: (resamples, P), rows adding up to P."""
    return rng.multinomial(num_pages, np.full(num_pages, 1 / num_pages), size=resamples).astype(np.float64)


def cluster_bootstrap(
    sums: Floats, statistic: Statistic, *, resamples: int, confidence: float, rng: np.random.Generator
) -> Interval:
    """Percentile interval of ``statistic`` when whole pages are drawn with replacement.

    ``sums`` is (P, K), one row per page. Fewer than two pages have no interval.
    """
    if len(sums) < 2:
        return Interval(None, None)
    return _percentiles(statistic(page_counts(len(sums), resamples, rng) @ sums), confidence)


def paired_bootstrap(
    ours: Floats, theirs: Floats, statistic: Statistic, *, resamples: int, confidence: float, rng: np.random.Generator
) -> Interval:
    """Percentile interval of statistic(ours) - statistic(theirs) over the same page draws; both (P, K)."""
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    if len(ours) < 2:
        return Interval(None, None)
    counts = page_counts(len(ours), resamples, rng)
    return _percentiles(statistic(counts @ ours) - statistic(counts @ theirs), confidence)


def paired_swap_test(
    ours: Floats, theirs: Floats, statistic: Statistic, *, resamples: int, rng: np.random.Generator
) -> float | None:
    """Two-sided p-value under "which method made which page does not matter"; both (P, K).

    Labels are swapped page by page: for a mean this is the sign-flip test of page differences, and it carries over
    to F1. All swaps are tried up to `EXACT_PAGES` pages; a sample of them, with the observed one added, above.
    """
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    num_pages = len(ours)
    if num_pages < 2:
        return None
    observed = float(statistic(ours.sum(0)) - statistic(theirs.sum(0)))
    if not np.isfinite(observed):
        return None
    exact = num_pages <= EXACT_PAGES
    if exact:
        swaps = ((np.arange(2**num_pages)[:, None] >> np.arange(num_pages)) & 1).astype(np.float64)
    else:
        swaps = rng.integers(0, 2, size=(resamples, num_pages)).astype(np.float64)
    moved = swaps @ (theirs - ours)
    differences = statistic(ours.sum(0) + moved) - statistic(theirs.sum(0) - moved)
    as_far = int(np.sum(np.abs(differences) >= abs(observed) - 1e-12))
    return as_far / len(swaps) if exact else (1 + as_far) / (1 + len(swaps))


def paired_effect_size(ours: Floats, theirs: Floats, statistic: Statistic) -> float | None:
    """Cohen's d of pairs: mean page difference of ``statistic`` over its standard deviation; both (P, K).

    Pages on which either has no figure are left out. None with fewer than two pages, or where all differ alike.
    """
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    gaps = statistic(ours) - statistic(theirs)
    gaps = gaps[np.isfinite(gaps)]
    if len(gaps) < 2:
        return None
    spread = float(gaps.std(ddof=1))
    return float(gaps.mean()) / spread if spread > 1e-12 else None


def mean_f1_of_counts(sums: Floats) -> Floats:
    """Mean over T thresholds of micro F1, from (..., 3 T) sums of tp, fp, fn of each."""
    return np.asarray(f1_of_counts(sums.reshape(*sums.shape[:-1], -1, 3)).mean(-1))


def jackknife_interval(value: float, left_out: Floats, *, confidence: float, floor: float | None) -> Interval:
    """Normal interval around ``value`` from the figures (P,) that came of leaving out each page once.

    The lower end is cut at ``floor``. Fewer than three pages, or one that could not be left out: no interval.
    """
    if len(left_out) < 3 or not np.all(np.isfinite(left_out)):
        return Interval(None, None)
    return _normal(value, left_out * (len(left_out) - 1), confidence, floor)


def influence_interval(value: float, influences: Floats, *, confidence: float, floor: float | None) -> Interval:
    """Normal interval around ``value`` from the influences (P,) of the pages on it: the infinitesimal jackknife.

    The lower end is cut at ``floor``. Fewer than three pages: no interval.
    """
    if len(influences) < 3:
        return Interval(None, None)
    return _normal(value, influences * len(influences), confidence, floor)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction over the p-values that exist."""
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, index) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        corrected[index] = highest
    return corrected


def _normal(value: float, page_values: Floats, confidence: float, floor: float | None) -> Interval:
    """Around ``value`` as the mean of one value per page (P,): what a jackknife makes of any figure."""
    half = float(norm.ppf(0.5 + confidence / 2) * page_values.std(ddof=1) / np.sqrt(len(page_values)))
    return Interval(value - half if floor is None else max(value - half, floor), value + half)


def _percentiles(figures: Floats, confidence: float) -> Interval:
    known = figures[np.isfinite(figures)]
    if not len(known):
        return Interval(None, None)
    low, high = np.quantile(known, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return Interval(float(low), float(high))


def _divide(above: Floats, below: Floats) -> Floats:
    above, below = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)
