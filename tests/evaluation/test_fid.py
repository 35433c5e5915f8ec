import numpy as np
import pytest

import diffsensei.models.torchvision_schemas  # noqa: F401
from diffsensei.evaluation.fid import frechet_distance


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
