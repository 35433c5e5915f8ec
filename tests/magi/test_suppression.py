import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsensei.geometry import area, pairwise_iou, suppress_overlaps
from diffsensei.magi.suppression import Thresholds, covered_share, select_objects, suppress_covered

CELLS = 12


@st.composite
def scored_boxes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Up to eight boxes with integer sides of at least 1 on a grid of 12, and scores that all differ."""
    corner = st.tuples(st.integers(0, CELLS - 1), st.integers(1, 6))
    sides = draw(st.lists(st.tuples(corner, corner), min_size=1, max_size=8))
    boxes = np.array([[x, y, x + w, y + h] for (x, w), (y, h) in sides], dtype=float)
    return boxes, np.array(draw(st.permutations(range(len(boxes)))), dtype=float) / 10


def cells(box: np.ndarray) -> set[tuple[int, int]]:
    x1, y1, x2, y2 = box.astype(int)
    return {(x, y) for x in range(x1, x2) for y in range(y1, y2)}


def test_covered_share_by_hand() -> None:
    box = np.array([0.0, 0, 10, 10])
    left, right, middle = [-5.0, 0, 4, 10], [6.0, -3, 20, 30], [3.0, 2, 7, 4]
    assert covered_share(box, np.zeros((0, 4))) == 0
    assert covered_share(box, np.array([left])) == pytest.approx(0.4)
    assert covered_share(box, np.array([left, right])) == pytest.approx(0.8)
    # Of the middle one's 8 square pixels, 2 and 2 are covered already.
    assert covered_share(box, np.array([left, right, middle])) == pytest.approx(0.84)
    assert covered_share(box, np.array([[0.0, 10, 10, 20]])) == 0
    assert covered_share(np.array([3.0, 3, 3, 8]), np.array([left])) == 0


@settings(max_examples=60, deadline=None)
@given(scored_boxes())
def test_covered_share_counts_cells(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    boxes, _ = drawn
    covered = cells(boxes[0]) & set().union(*map(cells, boxes[1:]))
    assert covered_share(boxes[0], boxes[1:]) == pytest.approx(len(covered) / len(cells(boxes[0])))


@settings(max_examples=60, deadline=None)
@given(scored_boxes())
def test_a_panel_stays_exactly_when_better_ones_leave_half_of_it(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    boxes, scores = drawn
    kept = suppress_covered(boxes, scores, 0.5)
    assert (np.diff(scores[kept]) < 0).all()
    for index in range(len(boxes)):
        better = [cells(boxes[k]) for k in kept if scores[k] > scores[index]]
        covered = cells(boxes[index]) & set().union(*better)
        assert (index in kept) == (len(covered) <= 0.5 * len(cells(boxes[index])))


@settings(max_examples=60, deadline=None)
@given(scored_boxes())
def test_a_text_stays_exactly_when_no_better_one_kept_overlaps_much(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    boxes, scores = drawn
    kept = suppress_overlaps(boxes, scores, 0.5)
    iou = pairwise_iou(boxes, boxes)
    assert (np.diff(scores[kept]) < 0).all()
    for index in range(len(boxes)):
        assert (index in kept) == all(iou[index, k] <= 0.5 for k in kept if scores[k] > scores[index])


@settings(max_examples=60, deadline=None)
@given(scored_boxes(), st.randoms(use_true_random=False))
def test_order_of_the_input_does_not_matter(drawn: tuple[np.ndarray, np.ndarray], random: object) -> None:
    boxes, scores = drawn
    shuffled = np.random.default_rng(random.randrange(2**32)).permutation(len(boxes))  # type: ignore[attr-defined]
    for suppress in (suppress_covered, suppress_overlaps):
        expected = scores[suppress(boxes, scores, 0.5)]
        np.testing.assert_array_equal(scores[shuffled][suppress(boxes[shuffled], scores[shuffled], 0.5)], expected)


def test_labels_and_thresholds_by_hand() -> None:
    boxes = np.array(
        [
            [0, 0, 10, 10],  # panel, best
            [0, 0, 10, 9],  # panel inside it
            [20, 0, 30, 10],  # panel at its threshold
            [40, 0, 50, 10],  # panel below it
            [0, 0, 10, 10],  # character
            [0, 0, 10, 10],  # character over the first
            [0, 0, 10, 10],  # character at its threshold
            [5, 5, 9, 9],  # text, lower
            [5, 5, 9, 9],  # text, better
            [5, 5, 9, 7],  # text at the IoU limit
            [0, 0, 1, 1],  # text at its threshold
        ],
        dtype=float,
    )
    labels = np.array([2, 2, 2, 2, 0, 0, 0, 1, 1, 1, 1])
    scores = np.array([0.9, 0.8, 0.2, 0.19, 0.5, 0.6, 0.3, 0.4, 0.7, 0.6, 0.25])
    kept = select_objects(boxes, scores, labels, Thresholds())
    assert kept.panels.tolist() == [0, 2]
    assert kept.characters.tolist() == [5, 4]
    assert kept.texts.tolist() == [8, 9]
    assert area(boxes[kept.texts]).tolist() == [16, 8]


def test_nothing_found() -> None:
    kept = select_objects(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int), Thresholds())
    assert [len(kept.panels), len(kept.characters), len(kept.texts)] == [0, 0, 0]
