"""Layouts drawn by hand: each letter is a panel, read in alphabetical order."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from diffsensei.data.synthetic.page import _lay_out
from diffsensei.magi.reading_order import Reading, order_panels, order_texts

CELL = 40
LEFT_TO_RIGHT = Reading(right_to_left=False, right_half_first=False)


def drawn(*rows: str, grow: float = -2.0) -> NDArray[np.float64]:
    """Boxes of the letters in alphabetical order, ``grow`` pixels larger at each side than their cells."""
    letters = sorted(set("".join(rows)) - {" "})
    boxes = []
    for letter in letters:
        places = [(x, y) for y, row in enumerate(rows) for x, found in enumerate(row) if found == letter]
        (x1, y1), (x2, y2) = np.min(places, axis=0), np.max(places, axis=0) + 1
        boxes.append([x1 * CELL - grow, y1 * CELL - grow, x2 * CELL + grow, y2 * CELL + grow])
    return np.array(boxes)


def mirrored(boxes: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    return np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)


LAYOUTS = {
    "grid": ("BBAA", "BBAA", "DDCC", "DDCC"),
    "four strips": ("AAAA", "BBBB", "CCCC", "DDDD"),
    "tall on the right of two": ("BBAA", "BBAA", "CCAA", "CCAA"),
    "tall on the left of two": ("CCAA", "CCAA", "CCBB", "CCBB"),
    "tall in the middle": ("DDCAA", "DDCAA", "EECBB", "EECBB"),
    "strip above a tall one and two": ("AAAA", "DDBB", "DDCC"),
    "rows cut at different places": ("BBBA", "BBBA", "DCCC", "DCCC"),
    "columns cut at different places": ("CCAA", "CCAA", "CCAA", "DDAA", "DDBB", "DDBB"),
    "short column before two tall ones": ("DDCCAA", "DDCCAA", "EECCAA", "EECCBB", "EECCBB"),
    "pinwheel": ("BBBA", "ECCA", "ECCA", "EDDD"),
    "other pinwheel": ("DAAA", "DCCB", "DCCB", "EEEB"),
    "two tiers of which one is a tall one with two": ("BA", "BA", "DC", "EC"),
}


@pytest.mark.parametrize("grow", [-2.0, 0.0, 1.5])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_layouts_both_ways(layout: tuple[str, ...], grow: float) -> None:
    boxes = drawn(*layout, grow=grow)
    alphabetical = list(range(len(boxes)))
    assert order_panels(boxes, Reading()).tolist() == alphabetical
    assert order_panels(mirrored(boxes, CELL * len(layout[0])), LEFT_TO_RIGHT).tolist() == alphabetical


def test_rows_whose_gutters_are_not_quite_level() -> None:
    boxes = np.array([[210, 0, 400, 200], [0, 0, 200, 210], [210, 205, 400, 400], [0, 215, 200, 400]])
    assert order_panels(boxes, Reading()).tolist() == [0, 1, 2, 3]


def test_slight_overlaps_at_slanted_gutters() -> None:
    boxes = np.array([[195, 0, 400, 205], [0, 0, 205, 205], [185, 195, 400, 400], [0, 195, 190, 400]])
    assert order_panels(boxes, Reading()).tolist() == [0, 1, 2, 3]


def test_an_inset_comes_after_the_panel_around_it() -> None:
    boxes = np.array([[0, 0, 400, 300], [30, 150, 150, 280], [0, 320, 400, 500]])
    assert order_panels(boxes, Reading()).tolist() == [0, 1, 2]
    assert order_panels(boxes[[1, 2, 0]], Reading()).tolist() == [2, 0, 1]


DOUBLE_PAGE = ("EDD BBA", "EDD BBA", "FFF CCC", "FFF CCC")


def test_double_page_right_half_first() -> None:
    boxes = drawn(*DOUBLE_PAGE)
    assert order_panels(boxes, Reading(), fold=3.5 * CELL).tolist() == [0, 1, 2, 3, 4, 5]


def test_double_page_left_half_first_but_right_to_left_inside() -> None:
    boxes = drawn(*DOUBLE_PAGE)
    assert order_panels(boxes, Reading(right_half_first=False), fold=3.5 * CELL).tolist() == [3, 4, 5, 0, 1, 2]


def test_double_page_left_to_right() -> None:
    boxes = mirrored(drawn(*DOUBLE_PAGE), 7 * CELL)
    assert order_panels(boxes, LEFT_TO_RIGHT, fold=3.5 * CELL).tolist() == [0, 1, 2, 3, 4, 5]


def test_drawn_pages_are_read_as_they_were_laid_out() -> None:
    """But for layouts that can be read both ways: the drawn world has columns whose gutters happen to be level."""
    height, half = 360, 240
    agreed = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        right, left = (np.array(_lay_out(rng, height, half, 6.0), dtype=float) for _ in range(2))
        orders = [order_panels(boxes, Reading()) for boxes in (right, left)]
        agreed += [order.tolist() == list(range(len(order))) for order in orders]
        spread = np.concatenate([right + np.array([half, 0, half, 0]), left])
        expected = [*orders[0], *(len(right) + orders[1])]
        shuffle = rng.permutation(len(spread))
        assert shuffle[order_panels(spread[shuffle], Reading(), fold=half)].tolist() == expected
    assert np.mean(agreed) > 0.8


def test_a_double_page_without_its_fold_is_read_across() -> None:
    assert order_panels(drawn(*DOUBLE_PAGE), Reading()).tolist() == [0, 1, 3, 4, 2, 5]


def test_panels_across_the_fold_part_what_is_above_from_what_is_below() -> None:
    boxes = drawn("DDC BBA", "EEEEEEE", "EEEEEEE", "HHG FFF")
    assert order_panels(boxes, Reading(), fold=3.5 * CELL).tolist() == list(range(8))


def test_a_panel_that_bleeds_over_the_fold_a_little_stays_on_its_page() -> None:
    boxes = drawn("CCC AAA", "DDD BBB")
    boxes[0, 0] -= 0.8 * CELL
    assert order_panels(boxes, Reading(), fold=3.5 * CELL).tolist() == [0, 1, 2, 3]


def test_texts_by_panel_then_from_the_reading_corner() -> None:
    panels = np.array([[210, 0, 400, 200], [0, 0, 200, 200]])
    texts = np.array(
        [
            [300, 20, 390, 80],  # right panel, at its corner
            [220, 30, 290, 90],  # right panel, further left
            [300, 150, 390, 190],  # right panel, below
            [190, 150, 216, 190],  # over the gutter, more in the left panel
            [20, 160, 80, 190],  # left panel, below left
        ]
    )
    assert order_texts(texts, panels, Reading()).tolist() == [0, 1, 2, 3, 4]
    assert order_texts(texts, panels[::-1], LEFT_TO_RIGHT).tolist() == [4, 3, 1, 0, 2]


def test_texts_outside_of_all_panels_go_to_the_nearest() -> None:
    panels = np.array([[210, 100, 400, 200], [0, 100, 190, 200]])
    texts = np.array([[20, 60, 60, 90], [380, 190, 390, 195], [250, 210, 260, 220], [20, 110, 60, 150]])
    assert order_texts(texts, panels, Reading()).tolist() == [1, 2, 0, 3]


def test_nothing_to_order() -> None:
    none, texts = np.zeros((0, 4)), np.array([[0, 0, 10, 10], [50, 0, 60, 10]])
    assert order_panels(none, Reading()).tolist() == []
    assert order_panels(none, Reading(), fold=20.0).tolist() == []
    assert order_texts(none, texts, Reading()).tolist() == []
    assert order_texts(texts, none, Reading()).tolist() == [1, 0]


sides = st.integers(0, 60)
some_boxes = st.lists(st.tuples(sides, sides, st.integers(0, 40), st.integers(0, 40)), max_size=9, unique=True).map(
    lambda drawn: np.array([[x, y, x + w, y + h] for x, y, w, h in drawn], dtype=float).reshape(-1, 4)
)
readings = st.builds(Reading, right_to_left=st.booleans(), right_half_first=st.booleans())


@settings(max_examples=60, deadline=None)
@given(some_boxes, readings, st.none() | st.floats(0, 100), st.randoms(use_true_random=False))
def test_a_permutation_that_does_not_depend_on_the_input_order(
    boxes: NDArray[np.float64], reading: Reading, fold: float | None, random: object
) -> None:
    order = order_panels(boxes, reading, fold)
    assert sorted(order) == list(range(len(boxes)))
    shuffled = boxes[np.random.default_rng(random.randrange(2**32)).permutation(len(boxes))]  # type: ignore[attr-defined]
    np.testing.assert_array_equal(shuffled[order_panels(shuffled, reading, fold)], boxes[order])
    texts = order_texts(boxes, boxes[order][:3], reading)
    assert sorted(texts) == list(range(len(boxes)))
    np.testing.assert_array_equal(shuffled[order_texts(shuffled, boxes[order][:3], reading)], boxes[texts])


@settings(max_examples=60, deadline=None)
@given(some_boxes, st.booleans())
def test_what_is_above_or_beside_all_others_is_first(boxes: NDArray[np.float64], right_to_left: bool) -> None:
    banner = np.array([[0.0, -50, 110, -10]])
    column = np.array([[120.0, -50, 150, 160]]) if right_to_left else np.array([[-40.0, -50, -10, 160]])
    reading = Reading(right_to_left=right_to_left)
    assert order_panels(np.concatenate([boxes, banner]), reading)[0] == len(boxes)
    assert order_panels(np.concatenate([boxes, column]), reading)[0] == len(boxes)


# Sides whose shrinking is exact, so that mirroring rounds nothing; none is 0, which is on both sides of its twin.
exact_boxes = st.lists(
    st.tuples(sides, sides, st.sampled_from([20, 40]), st.sampled_from([20, 40])), max_size=9, unique=True
).map(lambda drawn: np.array([[x, y, x + w, y + h] for x, y, w, h in drawn], dtype=float).reshape(-1, 4))


@settings(max_examples=60, deadline=None)
@given(exact_boxes, st.booleans(), st.none() | st.integers(0, 100))
def test_mirroring_the_page_and_the_direction_changes_nothing(
    boxes: NDArray[np.float64], right_half_first: bool, fold: int | None
) -> None:
    # A middle on the fold itself counts as right, which has no mirror image.
    assume(fold is None or (boxes[:, 0] + boxes[:, 2] != 2 * fold).all())
    one = Reading(right_to_left=True, right_half_first=right_half_first)
    other = Reading(right_to_left=False, right_half_first=not right_half_first)
    flipped = mirrored(boxes, 100)
    found = order_panels(flipped, other, None if fold is None else 100 - fold)
    np.testing.assert_array_equal(flipped[found], flipped[order_panels(boxes, one, fold)])
