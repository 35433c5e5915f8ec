import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffsensei.evaluation.dialog_f1 import Matches, match_at, match_boxes, overlaps

LEFT = [0.0, 0.0, 10.0, 10.0]
RIGHT = [20.0, 0.0, 30.0, 10.0]
NONE = np.zeros((0, 4))


def test_identical_sets_match_in_any_order():
    assert match_boxes(np.array([RIGHT, LEFT]), np.array([LEFT, RIGHT]), 0.5) == Matches(2, 0, 0)


def test_empty_sides():
    assert match_boxes(NONE, NONE, 0.5) == Matches(0, 0, 0)
    assert match_boxes(np.array([LEFT]), NONE, 0.5) == Matches(0, 1, 0)
    assert match_boxes(NONE, np.array([LEFT, RIGHT]), 0.5) == Matches(0, 0, 2)


def test_hand_boxes():
    found = np.array([[0, 0, 10, 5], [20, 0, 30, 4], [50, 50, 60, 60]], dtype=float)
    # IoU with LEFT is exactly 0.5 (counts), with RIGHT 0.4 (does not).
    assert match_boxes(found, np.array([LEFT, RIGHT]), 0.5) == Matches(1, 2, 1)
    assert match_boxes(found, np.array([LEFT, RIGHT]), 0.4) == Matches(2, 1, 0)


def test_one_box_does_not_pay_for_two_overlapping_requests():
    wanted = np.array([LEFT, [1.0, 0.0, 11.0, 10.0]])
    assert match_boxes(np.array([LEFT]), wanted, 0.5) == Matches(1, 0, 1)
    assert match_boxes(wanted, np.array([LEFT]), 0.5) == Matches(1, 1, 0)


def test_more_pairs_beat_one_better_pair():
    """Greedy takes the perfect pair and strands the other two; the assignment matches both at 0.54."""
    found = np.array([[0, 0, 10, 10], [-3, 0, 7, 10]], dtype=float)
    wanted = np.array([[0, 0, 10, 10], [3, 0, 13, 10]], dtype=float)
    assert match_boxes(found, wanted, 0.5) == Matches(2, 0, 0)


def test_touching_boxes_never_match_even_at_threshold_zero():
    assert match_boxes(np.array([LEFT]), np.array([RIGHT]), 0.0) == Matches(0, 1, 1)


boxes = st.lists(st.tuples(*[st.integers(0, 12)] * 4), max_size=5).map(
    lambda rows: np.array([[x, y, x + w + 1, y + h + 1] for x, y, w, h in rows], dtype=float).reshape(-1, 4)
)


@given(boxes, boxes)
def test_counts_add_up_and_sides_are_symmetric(found, wanted):
    matches = match_boxes(found, wanted, 0.5)
    assert matches.tp + matches.fp == len(found)
    assert matches.tp + matches.fn == len(wanted)
    assert match_boxes(wanted, found, 0.5).tp == matches.tp
    assert match_boxes(found, wanted, 0.3).tp >= matches.tp


def test_thresholds_share_one_matrix_of_overlaps():
    """One box of IoU 0.6 with its request: right up to there."""
    iou = overlaps(np.array([[0.0, 0, 10, 6]]), np.array([[0.0, 0, 10, 10]]))
    assert iou == pytest.approx(np.array([[0.6]]))
    assert [match_at(iou, threshold).tp for threshold in (0.3, 0.5, 0.55, 0.65, 0.75)] == [1, 1, 1, 0, 0]
    assert match_at(overlaps(np.zeros((0, 4)), np.ones((2, 4))), 0.5) == Matches(0, 0, 2)
