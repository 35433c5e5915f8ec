import numpy as np
import pytest

from diffsensei.evaluation.character_layout import paired_iou

NONE = np.zeros((0, 4))


def test_by_hand():
    wanted = np.array([[0.0, 0, 10, 10], [20, 0, 30, 10]])
    np.testing.assert_allclose(paired_iou(wanted[::-1], wanted), [1, 1])
    np.testing.assert_allclose(paired_iou(np.array([[0.0, 0, 10, 5]]), wanted), [0.5, 0])


def test_one_detection_serves_one_of_two_overlapping_requests():
    wanted = np.array([[0.0, 0, 10, 10], [2.0, 0, 12, 10]])
    found = paired_iou(wanted[:1], wanted)
    assert found == pytest.approx([1, 0])


def test_pairs_are_chosen_for_the_sum_not_one_by_one():
    """Greedy would take 0.6 and leave 0; together 0.5 and 0.5 are more."""
    wanted = np.array([[0.0, 0, 10, 1], [4.0, 0, 14, 1]])
    found = np.array([[2.5, 0, 12.5, 1], [-3.3, 0, 6.7, 1]])
    assert paired_iou(found, wanted).sum() > 1.0
    assert paired_iou(found, wanted).min() > 0.4


def test_empties():
    assert paired_iou(NONE, NONE).shape == (0,)
    np.testing.assert_array_equal(paired_iou(NONE, np.array([[0.0, 0, 1, 1]])), [0])
    assert paired_iou(np.array([[0.0, 0, 1, 1]]), NONE).shape == (0,)
