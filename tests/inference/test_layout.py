"""The automatic page: panels fill it, apart and in reading order, and follow weights and aspects."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsensei.inference.layout import lay_out
from diffsensei.inference.story import MAX_AUTOMATIC_PANELS, StoryPage


def page_of(*panels: dict[str, Any], **page: Any) -> StoryPage:
    return StoryPage.model_validate({"panels": [{"caption": ""} | panel for panel in panels]} | page)


def areas(page: StoryPage) -> list[float]:
    return [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in lay_out(page, "rtl")]


@given(
    st.lists(st.tuples(st.floats(0.2, 5), st.none() | st.floats(0.2, 5)), min_size=1, max_size=7),
    st.sampled_from([(1240, 1754), (800, 800), (1600, 900)]),
)
@settings(max_examples=60, deadline=None)
def test_panels_are_apart_inside_the_margins(panels: list[tuple[float, float | None]], size: tuple[int, int]) -> None:
    page = page_of(*({"weight": w, "aspect": a} for w, a in panels), width=size[0], height=size[1])
    boxes = lay_out(page, "rtl")
    margin_x, margin_y = (page.margin * min(size) / side for side in size)
    for number, (x1, y1, x2, y2) in enumerate(boxes):
        assert margin_x - 1e-9 <= x1 < x2 <= 1 - margin_x + 1e-9
        assert margin_y - 1e-9 <= y1 < y2 <= 1 - margin_y + 1e-9
        for other in boxes[:number]:
            assert x2 <= other[0] or x1 >= other[2] or y2 <= other[1] or y1 >= other[3]
    assert min(x1 for x1, *_ in boxes) == pytest.approx(margin_x)
    assert max(y2 for *_, y2 in boxes) == pytest.approx(1 - margin_y)


@given(st.integers(1, MAX_AUTOMATIC_PANELS), st.sampled_from(["rtl", "ltr"]))
@settings(max_examples=24, deadline=None)
def test_panels_follow_the_reading_order(count: int, reading: Any) -> None:
    boxes = lay_out(page_of(*[{}] * count), reading)
    for earlier, later in pairwise(boxes):
        if earlier[1] == later[1]:
            assert later[2] < earlier[0] if reading == "rtl" else later[0] > earlier[2]
        else:
            assert later[1] > earlier[3]


def test_directions_mirror_each_other() -> None:
    page = page_of(*[{}] * 6)
    for left, right in zip(lay_out(page, "ltr"), lay_out(page, "rtl"), strict=True):
        assert left == pytest.approx((1 - right[2], right[1], 1 - right[0], right[3]))


def test_heavier_panels_are_larger() -> None:
    even, heavy = areas(page_of(*[{}] * 5)), areas(page_of({}, {}, {}, {"weight": 3.0}, {}))
    assert heavy[3] > 1.4 * even[3]
    assert heavy[3] == max(heavy)


def test_a_wide_panel_gets_a_row_of_its_own() -> None:
    boxes = lay_out(page_of({}, {}, {"aspect": 3.0}, {}, {}), "rtl")
    assert boxes[2][2] - boxes[2][0] == pytest.approx(1 - 2 * 0.04)


def test_neighbouring_rows_have_no_common_gutter() -> None:
    """Six even panels are three rows of two; where rows are cut differs from one to the next."""
    cuts = [box[0] for box in lay_out(page_of(*[{}] * 6), "rtl")[::2]]
    assert abs(cuts[0] - cuts[1]) > 0.05
    assert abs(cuts[1] - cuts[2]) > 0.05


def test_rows_are_further_apart_than_panels_of_a_row() -> None:
    page = page_of(*[{}] * 6, gutter=0.02)
    first, second, third, *_ = lay_out(page, "rtl")
    assert (first[0] - second[2]) * page.width == pytest.approx(0.02 * page.width)
    assert (third[1] - first[3]) * page.height == pytest.approx(0.03 * page.width)
