import numpy as np
import pytest

from diffsensei.evaluation.cmmd import clip_distance, gaussian_kernels


def test_hand_computed_on_unit_vectors():
    """Two opposite directions against two right ones: |x - y|^2 is 4 within, 2 between; length does not matter."""
    x, y = np.array([[3.0, 0.0], [-1.0, 0.0]]), np.array([[0.0, 2.0], [0.0, -5.0]])
    expected = 1000 * (2 * np.exp(-4 / 200) - 2 * np.exp(-2 / 200))
    assert clip_distance(x, y) == pytest.approx(expected)
    np.testing.assert_allclose(gaussian_kernels(x, y).within_true, 1000 * np.exp(-np.array([[0, 4], [4, 0]]) / 200))


def test_the_same_distribution_is_at_zero_however_few_and_a_shift_is_not():
    rng = np.random.default_rng(0)
    near = [clip_distance(rng.normal(size=(12, 8)), rng.normal(size=(12, 8))) for _ in range(200)]
    spread = np.std(near) / np.sqrt(len(near))
    assert abs(np.mean(near)) < 4 * spread
    far = [clip_distance(rng.normal(size=(12, 8)) + 1, rng.normal(size=(12, 8))) for _ in range(20)]
    assert np.mean(far) > 5 * np.std(near)
