"""Pages: sizes to draw at, and composition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from diffsensei.inference.page import compose_page, drawing_size
from diffsensei.inference.story import StoryPage


@given(st.floats(20, 2000), st.floats(20, 2000), st.sampled_from([64, 256, 1024]))
def test_panels_are_drawn_near_the_trained_area_at_their_aspect(height: float, width: float, side: int) -> None:
    drawn_height, drawn_width = drawing_size(height, width, side)
    assert drawn_height % 8 == drawn_width % 8 == 0
    scale = side / (height * width) ** 0.5
    assert abs(drawn_height - height * scale) <= 8
    assert abs(drawn_width - width * scale) <= 8


def test_composition_places_frames_and_letters() -> None:
    page = StoryPage.model_validate(
        {
            "width": 100,
            "height": 80,
            "panels": [
                {"box": [0.1, 0.1, 0.5, 0.9], "caption": "x"},
                {"box": [0.6, 0.1, 0.9, 0.5], "caption": "y", "dialogs": [{"box": [0, 0, 1, 1], "text": "Go"}]},
            ],
        }
    )
    composed, _ = compose_page(page, [Image.new("L", (8, 16), 100), Image.new("L", (8, 8), 200)])
    sheet = np.asarray(composed)
    assert sheet.shape == (80, 100)
    assert (sheet[8, 10:50] == 0).all()
    assert (sheet[10:70, 12:48] == 100).all()
    assert (sheet[:, :10] == 255).all()
    second = sheet[10:38, 62:88]
    assert (second == 200).any()
    assert (second < 100).any()


def test_an_unlettered_bubble_stays_empty() -> None:
    box = {"box": [0.0, 0.0, 1.0, 1.0]}
    page = StoryPage.model_validate(
        {"width": 64, "height": 64, "panels": [box | {"caption": "", "dialogs": [box | {"text": "  "}]}]}
    )
    composed, _ = compose_page(page, [Image.new("L", (8, 8), 200)])
    inside = np.asarray(composed)[3:-3, 3:-3]
    assert (inside == 200).all()


def test_black_and_white_paper_has_two_shades_and_sharp_frames() -> None:
    page = StoryPage.model_validate({"width": 64, "height": 64, "panels": [{"box": [0, 0, 1, 1], "caption": ""}]})
    sheet, _ = compose_page(page, [Image.new("L", (8, 8), 128)], black_and_white=True)
    pixels = np.asarray(sheet)
    assert sheet.mode == "1"
    assert not pixels[:2].any()
    assert 0.4 < pixels[3:-3, 3:-3].mean() < 0.6


def test_complaints_name_the_panel() -> None:
    panels = [{"caption": "a"}, {"caption": "b", "dialogs": [{"box": [0, 0, 0.1, 0.1], "text": "word " * 90}]}]
    page = StoryPage.model_validate({"width": 200, "height": 300, "panels": panels})
    _, complaints = compose_page(page, [Image.new("L", (8, 8))] * 2)
    assert len(complaints) == 1
    assert complaints[0].startswith("panel 2: the text 'word word")


def test_a_panel_too_small_to_see_is_refused() -> None:
    page = StoryPage.model_validate({"width": 100, "height": 100, "panels": [{"box": [0, 0, 0.1, 1], "caption": "c"}]})
    with pytest.raises(ValueError, match=r"at least 16 x 16 pixels, the box of 'c' gives 10 x 100"):
        compose_page(page, [Image.new("L", (8, 8))])
