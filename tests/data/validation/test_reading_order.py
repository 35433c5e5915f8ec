"""Reading order by fixtures: right page first, rows from the top, each row from the right."""

import numpy as np
import pytest

from diffsensei.data.validation.reading_order import misordered_share

RIGHT = [(300, 0, 390, 90), (210, 0, 290, 90), (210, 100, 390, 190)]
LEFT = [(110, 0, 190, 90), (10, 0, 100, 90), (10, 100, 190, 190)]
SPREAD = (10, 200, 390, 290)


def test_as_manga_is_read() -> None:
    assert misordered_share([*RIGHT, *LEFT], middle=200) == 0
    assert misordered_share([*RIGHT, *LEFT, SPREAD], middle=200) == 0
    assert misordered_share(RIGHT, middle=None) == 0


def test_left_page_first_is_odd() -> None:
    """As a released helper of the reference code sorts them: 9 of 15 pairs."""
    assert misordered_share([*LEFT, *RIGHT], middle=200) == pytest.approx(9 / 15)


def test_left_to_right_rows_are_odd() -> None:
    assert misordered_share([RIGHT[1], RIGHT[0], RIGHT[2]], middle=200) == pytest.approx(1 / 3, abs=1e-3)
    assert misordered_share(RIGHT[::-1], middle=200) == 1


def test_what_cannot_be_judged() -> None:
    assert misordered_share([], middle=200) is None
    assert misordered_share(RIGHT[:1], middle=200) is None
    assert misordered_share([RIGHT[0], (np.nan, 0, 1, 1)], middle=200) is None
    assert misordered_share([RIGHT[0]] * 3, middle=200) is None  # one upon the other
    assert misordered_share([RIGHT[0]] * 1000, middle=200) is None
