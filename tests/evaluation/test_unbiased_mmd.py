import numpy as np

from diffsensei.evaluation.kid import cubic_kernels
from diffsensei.evaluation.unbiased_mmd import mmd, mmd_without_pages


def test_leaving_out_each_page_equals_computing_again_without_it():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 5)), rng.normal(0.3, 1, size=(33, 5))
    of_x, of_y = rng.integers(0, 6, 30), rng.integers(0, 6, 33)
    left_out = mmd_without_pages(cubic_kernels(x, y), of_x, of_y, 6)
    again = [mmd(cubic_kernels(x[of_x != page], y[of_y != page])) for page in range(6)]
    np.testing.assert_allclose(left_out, again, rtol=1e-9)


def test_a_page_that_holds_almost_everything_cannot_be_left_out():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(5, 3))
    left_out = mmd_without_pages(cubic_kernels(x, x), np.array([0, 0, 0, 0, 1]), np.array([0, 0, 0, 0, 1]), 2)
    assert np.isnan(left_out[0])
    assert np.isfinite(left_out[1])
