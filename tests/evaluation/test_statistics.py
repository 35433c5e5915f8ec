import numpy as np
import pytest
from scipy.stats import binom

from diffsensei.evaluation.statistics import (
    cluster_bootstrap,
    f1_of_counts,
    holm,
    influence_interval,
    jackknife_interval,
    mean_f1_of_counts,
    paired_bootstrap,
    paired_effect_size,
    paired_swap_test,
    ratio_of_sums,
    sums_by_page,
)


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_sums_by_page_adds_rows_of_the_same_page():
    pages, sums = sums_by_page(["b", "a", "b"], np.array([[1.0, 1], [5, 1], [2, 1]]))
    assert pages == ["a", "b"]
    np.testing.assert_array_equal(sums, [[5, 1], [3, 2]])


def test_statistics_of_nothing_are_nan_not_zero():
    assert np.isnan(ratio_of_sums(np.array([0.0, 0.0])))
    assert np.isnan(f1_of_counts(np.zeros(3)))
    assert f1_of_counts(np.array([3.0, 1.0, 2.0])) == pytest.approx(6 / 9)


def test_bootstrap_interval_covers_the_truth_as_often_as_it_says():
    """400 experiments of 40 pages with correlated panels: a 90 % interval must miss about 1 in 10."""
    rng = _rng(1)
    covered = 0
    for _ in range(400):
        page_effect = rng.normal(0.3, 1.0, size=40)
        sizes = rng.integers(1, 8, size=40)
        sums = np.array([[np.sum(m + rng.normal(0, 0.2, n)), n] for m, n in zip(page_effect, sizes, strict=True)])
        interval = cluster_bootstrap(sums, ratio_of_sums, resamples=400, confidence=0.9, rng=rng)
        covered += interval.low <= 0.3 <= interval.high
    assert binom.ppf(1e-4, 400, 0.86) <= covered <= binom.ppf(1 - 1e-4, 400, 0.92)


def test_clustering_by_page_widens_the_interval():
    """Ten copies of each measurement on a page carry no more knowledge than one."""
    values = _rng(2).normal(size=30)
    one_each = np.stack([values, np.ones(30)], axis=1)
    interval = cluster_bootstrap(one_each, ratio_of_sums, resamples=2000, confidence=0.95, rng=_rng())
    ten_each = cluster_bootstrap(one_each * 10, ratio_of_sums, resamples=2000, confidence=0.95, rng=_rng())
    as_if_independent = cluster_bootstrap(
        np.repeat(one_each, 10, axis=0), ratio_of_sums, resamples=2000, confidence=0.95, rng=_rng()
    )
    assert (ten_each.low, ten_each.high) == pytest.approx((interval.low, interval.high))
    assert as_if_independent.high - as_if_independent.low < 0.5 * (interval.high - interval.low)


def test_f1_is_re_aggregated_inside_each_resample():
    """Pages (1, 0, 0) and (0, 0, 9): the mean of page F1s is 0.5, the micro F1 of a resample is 1, 2/11 or none."""
    sums = np.array([[1.0, 0, 0], [0, 0, 9]])
    interval = cluster_bootstrap(sums, f1_of_counts, resamples=4000, confidence=0.4, rng=_rng())
    assert interval.low == pytest.approx(2 / 11)
    assert interval.high == pytest.approx(2 / 11)


def test_one_page_has_no_interval():
    assert cluster_bootstrap(np.ones((1, 2)), ratio_of_sums, resamples=10, confidence=0.9, rng=_rng()).low is None
    assert jackknife_interval(1.0, np.ones(2), confidence=0.9, floor=0.0).low is None
    assert influence_interval(1.0, np.ones(2), confidence=0.9, floor=0.0).low is None


def test_jackknives_of_a_mean_are_its_standard_error():
    values = _rng(3).normal(size=50)
    half = 1.959964 * values.std(ddof=1) / np.sqrt(50)
    left_out = np.array([np.delete(values, page).mean() for page in range(50)])
    influences = (values - values.mean()) / 50
    for interval in (
        jackknife_interval(values.mean(), left_out, confidence=0.95, floor=None),
        influence_interval(values.mean(), influences, confidence=0.95, floor=None),
    ):
        assert interval.low == pytest.approx(values.mean() - half, rel=1e-6)
        assert interval.high == pytest.approx(values.mean() + half, rel=1e-6)
    assert jackknife_interval(values.mean(), left_out, confidence=0.95, floor=1.0).low == 1.0
    assert jackknife_interval(1.0, np.array([1.0, np.nan, 2.0]), confidence=0.95, floor=None).low is None


def test_swap_test_of_identical_methods_is_one_and_of_a_clear_gap_is_small():
    base = np.stack([_rng(4).normal(size=10), np.ones(10)], axis=1)
    better = base + np.array([1.0, 0.0])
    assert paired_swap_test(base, base, ratio_of_sums, resamples=1000, rng=_rng()) == 1.0
    assert paired_swap_test(better, base, ratio_of_sums, resamples=1000, rng=_rng()) == pytest.approx(2 / 2**10)


def test_swap_test_sample_agrees_with_all_swaps():
    rng = _rng(5)
    ours = np.stack([rng.normal(0.4, 1, size=12), np.ones(12)], axis=1)
    theirs = np.stack([rng.normal(0, 1, size=12), np.ones(12)], axis=1)
    exact = paired_swap_test(ours, theirs, ratio_of_sums, resamples=1, rng=_rng())
    silent = np.vstack([np.zeros((1, 2)), ours]), np.vstack([np.zeros((1, 2)), theirs])  # 13 pages, one of them empty
    sampled = paired_swap_test(*silent, ratio_of_sums, resamples=20_000, rng=_rng())
    assert sampled == pytest.approx(exact, abs=0.02)


def test_swap_test_is_calibrated():
    """Without a difference, p <= 0.1 happens about one time in ten."""
    rng = _rng(6)
    small = sum(
        paired_swap_test(
            np.stack([rng.normal(size=15), np.ones(15)], axis=1),
            np.stack([rng.normal(size=15), np.ones(15)], axis=1),
            ratio_of_sums,
            resamples=300,
            rng=rng,
        )
        <= 0.1
        for _ in range(300)
    )
    assert binom.ppf(1e-4, 300, 0.1) <= small <= binom.ppf(1 - 1e-4, 300, 0.1)


def test_paired_interval_is_narrower_than_the_methods_own():
    rng = _rng(7)
    page = rng.normal(size=(40, 1))
    ours = np.hstack([page + 0.1 + rng.normal(0, 0.01, (40, 1)), np.ones((40, 1))])
    theirs = np.hstack([page, np.ones((40, 1))])
    paired = paired_bootstrap(ours, theirs, ratio_of_sums, resamples=1000, confidence=0.95, rng=_rng())
    alone = cluster_bootstrap(ours, ratio_of_sums, resamples=1000, confidence=0.95, rng=_rng())
    assert 0 < paired.low < 0.1 < paired.high
    assert paired.high - paired.low < 0.1 * (alone.high - alone.low)


def test_holm_by_hand():
    assert holm([0.01, None, 0.04, 0.03]) == [pytest.approx(0.03), None, pytest.approx(0.06), pytest.approx(0.06)]
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def test_nominal_95_per_cent_cover_93_to_97():
    """1500 experiments of 80 pages of different size whose panels share their page's effect."""
    rng = _rng(8)
    sizes = rng.integers(1, 12, size=(1500, 80))
    page_means = rng.gamma(2.0, 0.5, size=sizes.shape) + rng.normal(0, 0.3, size=sizes.shape) / np.sqrt(sizes)
    experiments = np.stack([page_means * sizes, sizes], axis=-1)
    intervals = [
        cluster_bootstrap(sums, ratio_of_sums, resamples=400, confidence=0.95, rng=rng) for sums in experiments
    ]
    covered = np.mean([interval.low <= 1.0 <= interval.high for interval in intervals])
    assert 0.93 <= covered <= 0.97, covered


def test_effect_size_by_hand():
    """Page means differ by 1, 2 and 3: mean 2, standard deviation 1; the page without panels does not count."""
    base = np.array([[0.0, 1], [2.0, 2], [3.0, 3], [0, 0]])
    ours = base + np.array([[1.0, 0], [4.0, 0], [9.0, 0], [0, 0]])
    assert paired_effect_size(ours, base, ratio_of_sums) == pytest.approx(2.0)
    assert paired_effect_size(base, ours, ratio_of_sums) == pytest.approx(-2.0)
    assert paired_effect_size(base, base, ratio_of_sums) is None
    assert paired_effect_size(ours[:1], base[:1], ratio_of_sums) is None


def test_mean_f1_over_thresholds():
    assert mean_f1_of_counts(np.array([1.0, 0, 0, 0, 1, 1])) == pytest.approx(0.5)
