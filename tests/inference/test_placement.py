"""Places for what has no box: dialogs above, characters below, in reading order; given boxes stay."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffsensei.inference.placement import PlacedPanel, place_page
from diffsensei.inference.story import StoryPage


def placed(reading: Any = "rtl", box: list[float] | None = None, **panel: Any) -> PlacedPanel:
    page = {"width": 1000, "height": 1000, "panels": [{"caption": "", "box": box or [0.0, 0.0, 1.0, 0.5]} | panel]}
    return place_page(StoryPage.model_validate(page), reading)[0]


def test_characters_stand_side_by_side_at_the_bottom_the_first_on_the_right() -> None:
    people = [{"name": name} for name in "abc"]
    boxes = placed(characters=people).characters
    assert all(box[3] == 1.0 for box in boxes)
    assert boxes[0][0] > boxes[1][2] > boxes[1][0] > boxes[2][2]
    for left, right in zip(placed("ltr", characters=people).characters, boxes[::-1], strict=True):
        assert left == pytest.approx(right)


def test_dialogs_hang_at_the_top_in_order_of_speaking() -> None:
    boxes = placed(dialogs=[{"text": "one"}, {"text": "two"}]).dialogs
    assert boxes[0][0] > boxes[1][2]
    assert all(box[1] < 0.1 and box[3] < 0.5 for box in boxes)


def test_given_boxes_stay_and_the_others_are_spread_as_if_alone() -> None:
    given_box = (0.1, 0.2, 0.3, 0.4)
    boxes = placed(dialogs=[{"text": "one"}, {"text": "two", "box": given_box}, {"text": "three"}]).dialogs
    assert boxes[1] == given_box
    assert (boxes[0], boxes[2]) == placed(dialogs=[{"text": "one"}, {"text": "three"}]).dialogs


@given(
    st.integers(1, 8), st.integers(1, 10), st.floats(0.25, 1.0), st.floats(0.25, 1.0), st.sampled_from(["rtl", "ltr"])
)
def test_places_lie_in_the_panel_and_apart(
    num_characters: int, num_dialogs: int, width: float, height: float, reading: Any
) -> None:
    panel = placed(
        reading,
        [0.0, 0.0, width, height],
        characters=[{"name": "a"}] * num_characters,
        dialogs=[{"text": "x"}] * num_dialogs,
    )
    for boxes in (panel.characters, panel.dialogs):
        for number, (x1, y1, x2, y2) in enumerate(boxes):
            assert 0 <= x1 < x2 <= 1 + 1e-9
            assert 0 <= y1 < y2 <= 1
            for other in boxes[:number]:
                assert x2 <= other[0] + 1e-9 or x1 >= other[2] - 1e-9 or y2 <= other[1] + 1e-9 or y1 >= other[3] - 1e-9


def test_panel_boxes_of_the_page_are_kept() -> None:
    assert placed(box=[0.25, 0.5, 0.75, 1.0]).box == (0.25, 0.5, 0.75, 1.0)
    automatic = place_page(StoryPage.model_validate({"panels": [{"caption": ""}]}), "rtl")[0]
    assert automatic.box[0] == pytest.approx(0.04)
