import numpy as np
import pytest

from diffsensei.evaluation.fid import frechet_distance
from diffsensei.evaluation.kid import kernel_distance


def test_kid_expectation_does_not_depend_on_the_number_of_panels_but_fid_does():
    rng = np.random.default_rng(4)

    def mean(score, n):
        return np.mean([score(rng.normal(size=(n, 32)), rng.normal(size=(n, 32))) for _ in range(40)])

    assert abs(mean(kernel_distance, 20)) < 0.02
    assert mean(frechet_distance, 20) > 4 * mean(frechet_distance, 200)


def test_kid_equals_clean_fid_on_one_full_subset():
    from cleanfid import fid

    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(60, 16)), rng.normal(0.2, 1.1, size=(60, 16))
    assert kernel_distance(a, b) == pytest.approx(fid.kernel_distance(a, b, num_subsets=1), rel=1e-9)


def test_hand_computed():
    """One dimension, kernel (xy + 1)^3: within {0, 1} only the pair (0, 1) counts, which is 1."""
    x, y = np.array([[0.0], [1.0]]), np.array([[0.0], [2.0]])
    between = np.mean([1, 1, 1, 27])
    assert kernel_distance(x, y) == pytest.approx(1 + 1 - 2 * between)
