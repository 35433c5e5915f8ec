import numpy as np
import pytest

from diffsensei.evaluation.distribution_metrics import DISTRIBUTION_METRICS, FeatureSet, Sampling

BY_NAME = {metric.definition.name: metric for metric in DISTRIBUTION_METRICS}


def _sets(num_pages: int, shift: float, seed: int = 0) -> tuple[FeatureSet, FeatureSet, Sampling]:
    rng = np.random.default_rng(seed)
    pages = np.repeat(np.arange(num_pages), 4)
    true = rng.normal(size=(len(pages), 6))
    generated = FeatureSet(rng.normal(shift, 1, size=true.shape), pages)
    return generated, FeatureSet(true, pages), Sampling(num_pages, 0.95, 200)


@pytest.mark.parametrize("name", BY_NAME)
def test_further_is_more_and_intervals_hold_their_figure(name):
    near, far = (BY_NAME[name].compute(*_sets(30, shift)) for shift in (0.2, 2.0))
    assert far.value > near.value
    if name == "fid_infinity":
        assert far.how.startswith("none")
    else:
        assert far.interval.low < far.value < far.interval.high


@pytest.mark.parametrize("name", ["fid", "fid_64", "fd_dino", "fid_page_mean", "fid_l2_page_mean", "fid_infinity"])
def test_a_set_is_at_zero_from_itself(name):
    _, true, sampling = _sets(10, 0.0)
    assert BY_NAME[name].compute(true, true, sampling).value == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", ["fid", "kid", "cmmd"])
def test_intervals_are_as_wide_as_the_figure_is_uncertain(name):
    """The standard error from one set against the spread over many sets."""
    found = [BY_NAME[name].compute(*_sets(20, 1.0, seed)) for seed in range(40)]
    spread = np.std([estimate.value for estimate in found])
    half = np.median([estimate.interval.high - estimate.value for estimate in found]) / 1.96
    assert 0.6 * spread < half < 1.7 * spread
