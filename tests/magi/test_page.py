"""A page put together from numbers made by hand."""

import numpy as np
import pytest

from diffsensei.magi.page import MagiPage, PairScores, assemble_page
from diffsensei.magi.reading_order import Reading
from diffsensei.magi.suppression import Thresholds, select_objects

BOXES = np.array(
    [
        [0, 0, 95, 100],  # 0 panel on the left
        [105, -4, 206, 100],  # 1 panel on the right, beyond the page
        [120, 20, 150, 90],  # 2 Anna, on the right
        [10, 20, 40, 90],  # 3 Anna, on the left
        [50, 20, 80, 90],  # 4 Ben, on the left
        [10, 5, 30, 15],  # 5 text of the left panel
        [160, 5, 190, 30],  # 6 text at the corner of the right panel
        [110, 60, 140, 90],  # 7 a sound further down in the right panel
        [161, 5, 190, 30],  # 8 text 6 once more
    ],
    dtype=float,
)
LABELS = np.array([2, 2, 0, 0, 0, 1, 1, 1, 1])
SCORES = np.array([0.9, 0.8, 0.7, 0.5, 0.6, 0.95, 0.6, 0.8, 0.5])
# Characters by falling score: Anna on the right, Ben, Anna on the left. Texts so: 5, 7, 6.
PAIRS = PairScores(
    characters=np.array([[0.99, 0.2, 0.7], [0.2, 0.98, 0.65], [0.7, 0.65, 0.97]]),
    texts=np.array([[0.1, 0.6, 0.5], [0.9, 0.0, 0.0], [0.8, 0.1, 0.3]]),
    dialogs=np.array([0.9, 0.1, 0.7]),
)


def assembled(right_to_left: bool) -> MagiPage:
    thresholds = Thresholds()
    return assemble_page(
        boxes=BOXES,
        scores=SCORES,
        selection=select_objects(BOXES, SCORES, LABELS, thresholds),
        pairs=PAIRS,
        size=(100, 200),
        thresholds=thresholds,
        reading=Reading(right_to_left=right_to_left),
    )


def test_right_to_left_by_hand() -> None:
    page = assembled(right_to_left=True)
    assert page.panels.tolist() == [[105, 0, 200, 100], [0, 0, 95, 100]]
    assert page.panel_scores.tolist() == [0.8, 0.9]
    np.testing.assert_array_equal(page.characters, BOXES[[2, 4, 3]])
    assert page.character_scores.tolist() == [0.7, 0.6, 0.5]
    assert page.character_clusters.tolist() == [0, 1, 0]
    np.testing.assert_array_equal(page.texts, BOXES[[6, 7, 5]])
    assert page.text_scores.tolist() == [0.6, 0.8, 0.95]
    assert page.dialog_scores.tolist() == [0.7, 0.1, 0.9]
    assert page.text_characters.tolist() == [[0, 0], [2, 1]]


def test_left_to_right_by_hand() -> None:
    page = assembled(right_to_left=False)
    assert page.panels.tolist() == [[0, 0, 95, 100], [105, 0, 200, 100]]
    np.testing.assert_array_equal(page.texts, BOXES[[5, 6, 7]])
    assert page.dialog_scores.tolist() == [0.9, 0.7, 0.1]
    assert page.text_characters.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("threshold", [0.0, 0.6, 0.75])
def test_higher_thresholds_never_join_people(threshold: float) -> None:
    thresholds = Thresholds(same_character=threshold)
    page = assemble_page(
        boxes=BOXES,
        scores=SCORES,
        selection=select_objects(BOXES, SCORES, LABELS, thresholds),
        pairs=PAIRS,
        size=(100, 200),
        thresholds=thresholds,
        reading=Reading(),
    )
    assert page.character_clusters.max() + 1 == {0.0: 1, 0.6: 1, 0.75: 3}[threshold]
