import numpy as np
import pytest

from diffsensei.evaluation.fid import frechet_distance
from diffsensei.evaluation.fid_pages import page_distances, unit_length


def test_pages_are_compared_with_themselves_and_lone_panels_are_left_out():
    rng = np.random.default_rng(0)
    true, pages = rng.normal(size=(7, 4)), np.array([0, 0, 0, 1, 1, 1, 2])
    shift = np.array([1.0, 0, 0, 0])
    generated = true + np.where(pages == 1, 2.0, 1.0)[:, None] * shift
    np.testing.assert_allclose(page_distances(generated, pages, true, pages), [1.0, 4.0])
    assert len(page_distances(true[:0], pages[:0], true, pages)) == 0


def test_small_groups_exceed_the_whole_although_nothing_differs():
    rng = np.random.default_rng(1)
    a, b, pages = rng.normal(size=(200, 32)), rng.normal(size=(200, 32)), np.repeat(np.arange(20), 10)
    assert page_distances(a, pages, b, pages).mean() > 3 * frechet_distance(a, b)


def test_unit_features():
    np.testing.assert_allclose(unit_length(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0.0, 0.0]])
    assert np.linalg.norm(unit_length(np.random.default_rng(2).normal(size=(5, 9))), axis=1) == pytest.approx(1)
