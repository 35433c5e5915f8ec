"""Lettering stays in its bubble and is there."""

import numpy as np
import pytest
from PIL import Image

from diffsensei.inference.lettering import letter


def inked(text: str, box: tuple[int, int, int, int]) -> np.ndarray:
    page = Image.new("L", (200, 150), 255)
    letter(page, box, text)
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


def test_text_that_cannot_fit_is_written_all_the_same() -> None:
    assert inked("Incomprehensibilities abound everywhere", (100, 70, 106, 76)).any()
