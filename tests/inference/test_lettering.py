"""Lettering stays in its bubble and is there."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from diffsensei.inference.lettering import Lettering, letter

PAGE = (200, 1000)
"""Letters are as high as the page allows: 19 px."""


def inked(text: str, box: tuple[int, int, int, int], lettering: Lettering | None = None) -> np.ndarray:
    page = Image.new("L", PAGE, 255)
    letter(page, box, text, lettering or Lettering())
    return np.asarray(page) < 128


@pytest.mark.parametrize("text", ["Hi!", "Where have you been all this time, Mika?"])
def test_text_lies_inside_its_box_and_near_its_middle(text: str) -> None:
    rows, columns = np.nonzero(inked(text, (40, 30, 160, 120)))
    assert rows.size > 20
    assert rows.min() >= 30
    assert rows.max() < 120
    assert columns.min() >= 40
    assert columns.max() < 160
    assert abs((rows.min() + rows.max()) / 2 - 75) < 8
    assert abs((columns.min() + columns.max()) / 2 - 100) < 8


def test_longer_text_is_smaller_not_lost() -> None:
    def line_height(text: str) -> int:
        rows = inked(text, (40, 30, 160, 120)).any(axis=1)
        return int(np.flatnonzero(~rows[np.argmax(rows) :])[0])

    assert line_height("Where have you been all this time, my dear friend Mika?") < line_height("No")


@given(st.text(st.sampled_from("abcdefg éÜ-!"), min_size=1, max_size=120), st.integers(40, 180), st.integers(40, 180))
@settings(max_examples=40, deadline=None)
def test_text_that_fits_lies_inside_the_ellipse(text: str, width: int, height: int) -> None:
    page = Image.new("L", PAGE, 255)
    trouble = letter(page, (10, 10, 10 + width, 10 + height), text, Lettering())
    rows, columns = np.nonzero(np.asarray(page) < 128)
    if trouble is None and rows.size:
        x = (columns + 0.5 - 10 - width / 2) / (width / 2)
        y = (rows + 0.5 - 10 - height / 2) / (height / 2)
        assert (x**2 + y**2).max() < 1.05


def test_text_that_cannot_fit_is_written_all_the_same_and_told() -> None:
    page = Image.new("L", PAGE, 255)
    trouble = letter(page, (100, 70, 106, 76), "Incomprehensibilities abound everywhere", Lettering())
    assert (np.asarray(page) < 128).any()
    assert trouble is not None
    assert "too long for its box" in trouble


def test_a_bubble_is_white_inside_its_outline_and_text_has_no_rim() -> None:
    box = (20, 20, 180, 120)
    page = Image.new("L", PAGE, 128)
    letter(page, box, "", Lettering(bubbles=True))
    pixels = np.asarray(page)
    assert pixels[70, 100] == 255
    assert pixels[70, 20] == 0
    assert pixels[21, 21] == 128, "corners of the box stay what they were"
    letter(page, box, "Ha", Lettering(bubbles=True))
    assert (np.asarray(page) < 64).sum() > (pixels < 64).sum()


def test_nothing_is_written_without_lettering() -> None:
    assert not inked("Ha", (20, 20, 180, 120), Lettering(written=False)).any()
    assert inked("Ha", (20, 20, 180, 120)).any()


def test_letters_no_font_has_are_told() -> None:
    page = Image.new("L", PAGE, 255)
    trouble = letter(page, (20, 20, 180, 120), "ab \U00012345 c", Lettering())
    assert trouble is not None
    assert "no font here has the letters \U00012345" in trouble


def test_letters_on_black_and_white_paper_have_no_greys() -> None:
    page = Image.new("1", PAGE, 255)
    assert letter(page, (20, 20, 180, 120), "Where is it?", Lettering(bubbles=True)) is None
    assert set(np.unique(np.asarray(page.convert("L")))) == {0, 255}
