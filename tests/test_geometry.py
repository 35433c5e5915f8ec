import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffsensei.geometry import (
    area,
    cover_crop,
    cover_size,
    intersection,
    pairwise_iou,
    pixel_box,
    suppress_overlaps,
    to_relative,
)


def test_relative_boxes_by_hand():
    frame = np.array([100, 200, 300, 300])
    boxes = np.array([[100, 200, 300, 300], [150, 225, 200, 250], [50, 200, 100, 300]])
    expected = [[0, 0, 1, 1], [0.25, 0.25, 0.5, 0.5], [-0.25, 0, 0, 1]]
    np.testing.assert_allclose(to_relative(boxes, frame), expected)


def test_a_frame_without_area_is_refused():
    with pytest.raises(ValueError, match="has no area"):
        to_relative(np.zeros((1, 4)), np.array([5, 5, 5, 9]))


def test_iou_by_hand():
    a = np.array([[0, 0, 2, 2], [0, 0, 1, 1]])
    b = np.array([[1, 1, 3, 3], [0, 0, 2, 2], [2, 2, 1, 1]])
    np.testing.assert_allclose(pairwise_iou(a, b), [[1 / 7, 1, 0], [0, 0.25, 0]])
    assert area(b[2]) == 0
    assert intersection(a[0], b[0]) == 1


def test_cover_crop_follows_the_pixels():
    # 100 x 400 covers 100 x 200 unscaled; the crop takes the middle half.
    boxes = cover_crop(np.array([[0.25, 0, 0.75, 1], [0, 0, 0.5, 1]]), 100, 400, 100, 200)
    np.testing.assert_allclose(boxes, [[0, 0, 1, 1], [-0.5, 0, 0.5, 1]])


@given(*[st.integers(8, 3000)] * 4)
def test_cover_size_covers_and_touches(height, width, target_height, target_width):
    new_height, new_width = cover_size(height, width, target_height, target_width)
    assert new_height >= target_height
    assert new_width >= target_width
    assert new_height == target_height or new_width == target_width


def test_pixel_box_truncates_and_clamps():
    assert pixel_box(np.array([-0.2, 0.11, 0.99, 1.5]), 10, 10) == (0, 1, 9, 10)


def test_of_two_that_overlap_the_better_stays_and_equal_scores_keep_their_order():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 5], [20, 0, 30, 10], [20, 0, 30, 10]])
    scores = np.array([0.5, 0.9, 0.1, 0.3, 0.3])
    assert suppress_overlaps(boxes, scores, 0.7).tolist() == [1, 3, 2]
    assert suppress_overlaps(boxes, scores, 0.8).tolist() == [1, 0, 3, 2]
    assert suppress_overlaps(np.zeros((0, 4)), np.zeros(0), 0.5).tolist() == []
