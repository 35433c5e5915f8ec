import numpy as np
import pytest

from diffsensei.evaluation.fid import frechet_distance
from diffsensei.evaluation.fid_infinity import fid_infinity


def _rng():
    return np.random.default_rng(0)


def test_the_bias_of_small_sets_is_gone():
    """Two samples of one Gaussian are at 0, of Gaussians a unit step apart at 1; FID of 400 is far above both."""
    rng = np.random.default_rng(1)
    pages = np.repeat(np.arange(80), 5)
    a, b = rng.normal(size=(400, 24)), rng.normal(size=(400, 24))
    step = np.eye(24)[0]
    for shift, truth in ((0 * step, 0.0), (step, 1.0)):
        plain = frechet_distance(a + shift, b)
        extrapolated = fid_infinity(a + shift, pages, b, pages, _rng())
        assert plain - truth > 0.5
        assert abs(extrapolated - truth) < 0.25 * (plain - truth)


def test_identical_sets_are_at_zero_and_one_page_cannot_be_extrapolated():
    features = np.random.default_rng(2).normal(size=(60, 8))
    pages = np.repeat(np.arange(20), 3)
    assert fid_infinity(features, pages, features, pages, _rng()) == pytest.approx(0, abs=1e-9)
    assert np.isnan(fid_infinity(features, 0 * pages, features, 0 * pages, _rng()))
