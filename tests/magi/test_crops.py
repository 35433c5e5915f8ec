import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from diffsensei.magi.crops import MIN_SIDE, CropEncoder, crop_bounds, embed_crops
from diffsensei.magi.magi import Magi


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([3.9, 4.1, 30.9, 40.2], [3, 4, 30, 40]),
        ([-8, -3, 30, 200], [0, 0, 30, 80]),
        ([20.5, 30.5, 22.5, 60], [20, 30, 30, 60]),
        ([55, 75, 58, 79], [50, 70, 60, 80]),
        ([90, 90, 99, 99], [50, 70, 60, 80]),
    ],
)
def test_by_hand_on_a_page_60_wide_and_80_high(box: list[float], expected: list[int]) -> None:
    assert crop_bounds(np.array([box]), 80, 60).tolist() == [expected]


def test_a_page_smaller_than_the_least_side() -> None:
    assert crop_bounds(np.array([[2.0, 2, 4, 4]]), 6, 40).tolist() == [[2, 0, 12, 6]]


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, (3, 4), elements=st.floats(-200, 400)), st.integers(1, 150), st.integers(1, 150))
def test_always_inside_and_never_too_small(boxes: np.ndarray, height: int, width: int) -> None:
    left, top, right, bottom = crop_bounds(boxes, height, width).T
    assert (left >= 0).all()
    assert (top >= 0).all()
    assert (right <= width).all()
    assert (bottom <= height).all()
    assert (right - left >= min(MIN_SIDE, width)).all()
    assert (bottom - top >= min(MIN_SIDE, height)).all()


def test_batches_over_pages_give_each_page_its_own(magi: Magi) -> None:
    encoder = CropEncoder(magi.network.crop_embedding_model, magi.crop_processor)
    rng = np.random.default_rng(0)
    pages = [rng.integers(0, 256, (60, 50, 3), dtype=np.uint8) for _ in range(3)]
    boxes = [np.array([[0.0, 0, 20, 20], [5, 5, 45, 50]]), np.zeros((0, 4)), np.array([[10.0, 10, 30, 40]])]
    together = embed_crops(encoder, pages, boxes, batch_size=2)
    assert [len(part) for part in together] == [2, 0, 1]
    for page, page_boxes, part in zip(pages, boxes, together, strict=True):
        (alone,) = embed_crops(encoder, [page], [page_boxes])
        np.testing.assert_allclose(part, alone, atol=1e-5)
    assert np.abs(together[0][0] - together[0][1]).max() > 1e-3
