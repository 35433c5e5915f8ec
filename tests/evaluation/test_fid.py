import numpy as np
import pytest

import diffsensei.models.torchvision_schemas  # noqa: F401
from diffsensei.evaluation.fid import frechet_distance, frechet_influences


def _clean_fid(a: np.ndarray, b: np.ndarray) -> float:
    from cleanfid import fid

    return fid.fid_from_feats(a, b)


@pytest.mark.parametrize(("n", "m", "dimensions"), [(200, 300, 8), (500, 400, 32), (65, 70, 64)])
def test_equals_clean_fid(n, m, dimensions):
    rng = np.random.default_rng(n)
    a = rng.normal(size=(n, dimensions)) @ rng.normal(size=(dimensions, dimensions))
    b = rng.normal(0.3, 1.0, size=(m, dimensions)) @ rng.normal(size=(dimensions, dimensions))
    assert frechet_distance(a, b) == pytest.approx(_clean_fid(a, b), rel=1e-6)


def test_fewer_panels_than_dimensions_agrees_with_clean_fid():
    """Singular covariances: clean-fid's square root is the less exact of the two, so the tolerance is its own."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(20, 48)), rng.normal(0.5, 2.0, size=(24, 48))
    assert frechet_distance(a, b) == pytest.approx(_clean_fid(a, b), rel=1e-4)


def test_shifted_gaussians_have_the_known_distance():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(400, 16))
    shift = np.linspace(0, 1, 16)
    assert frechet_distance(features + shift, features) == pytest.approx(np.sum(shift**2), rel=1e-9)
    assert frechet_distance(features * 3, features) == pytest.approx(
        np.sum((3 * features - features).mean(0) ** 2) + 4 * np.trace(np.cov(features.T)), rel=1e-9
    )


def test_identical_sets_are_at_zero():
    features = np.random.default_rng(2).normal(size=(30, 64)).astype(np.float32)
    assert frechet_distance(features, features.copy()) == pytest.approx(0, abs=1e-9)


def test_order_of_panels_does_not_matter():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(50, 8)), rng.normal(size=(40, 8))
    assert frechet_distance(rng.permutation(a), b) == pytest.approx(frechet_distance(a, b), rel=1e-9)


def test_one_panel_is_not_enough():
    with pytest.raises(ValueError, match="at least 2 panels"):
        frechet_distance(np.ones((1, 4)), np.ones((5, 4)))


@pytest.mark.parametrize(("n", "m", "dimensions"), [(40, 50, 6), (20, 24, 48)])
def test_influences_are_the_derivative_by_a_rows_weight(n, m, dimensions):
    """A row drawn a hundred times instead of 99 in a set of copies: a weight of a hundredth more."""
    rng = np.random.default_rng(n)
    a, b = rng.normal(size=(n, dimensions)), rng.normal(0.4, 1.5, size=(m, dimensions))
    of_a, of_b = frechet_influences(a, b)
    assert of_a.sum() == pytest.approx(0, abs=1e-9)
    assert of_b.sum() == pytest.approx(0, abs=1e-9)

    def weighed(rows, weights):
        mean = weights @ rows / weights.sum()
        return mean, (rows - mean) * np.sqrt(weights / weights.sum() * len(rows) / (len(rows) - 1))[:, None]

    def distance(weights_a, weights_b):
        (mean_a, root_a), (mean_b, root_b) = weighed(a, weights_a), weighed(b, weights_b)
        cross = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
        return np.sum((mean_a - mean_b) ** 2) + np.sum(root_a**2) + np.sum(root_b**2) - 2 * cross

    for row in (0, 7):
        for found, size, place in ((of_a, n, 0), (of_b, m, 1)):
            step = 1e-5 * np.eye(size)[row]
            ones = [np.ones(n), np.ones(m)]
            up, down = list(ones), list(ones)
            up[place], down[place] = ones[place] + step, ones[place] - step
            assert (distance(*up) - distance(*down)) / 2e-5 == pytest.approx(found[row], rel=1e-4, abs=1e-7)


def test_influences_of_a_set_on_its_distance_from_itself_are_none():
    features = np.random.default_rng(9).normal(size=(30, 8))
    assert np.abs(np.concatenate(frechet_influences(features, features))).max() < 1e-9
