import numpy as np
import pytest

from diffsensei.evaluation.copy_paste import copy_paste_score

SHOWN, OTHER = np.array([1.0, 0, 0]), np.array([[0.0, 2, 0], [0, 0, 3]])


def test_a_copy_is_at_most_and_a_fair_likeness_at_zero():
    assert copy_paste_score(SHOWN, SHOWN, OTHER) == pytest.approx(1.0)
    assert copy_paste_score(np.ones(3), SHOWN, OTHER) == pytest.approx(0.0)
    assert copy_paste_score(OTHER[0], SHOWN, OTHER) == pytest.approx(0 - 0.5)


def test_nothing_drawn_has_no_score():
    assert np.isnan(copy_paste_score(np.zeros(3), SHOWN, OTHER))
