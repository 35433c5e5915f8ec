import numpy as np

from diffsensei.magi.panel_membership import containing_panels, nearest_panels

PANELS = np.array([[0, 0, 100, 100], [110, 0, 200, 100], [10, 10, 50, 50]], dtype=float)


def test_the_panel_with_most_of_it_and_of_nested_ones_the_smaller() -> None:
    boxes = np.array(
        [
            [60, 60, 90, 90],  # in the first
            [95, 20, 125, 40],  # 5 px in the first, 15 px in the second
            [12, 12, 30, 30],  # wholly in the inset as well as in the panel around it
            [40, 40, 90, 90],  # wholly in the first, a corner in the inset
            [101, 20, 109, 40],  # in the gutter
            [0, 100, 50, 120],  # touches
        ],
        dtype=float,
    )
    assert containing_panels(boxes, PANELS).tolist() == [0, 1, 2, 0, -1, -1]


def test_nearest_by_gap() -> None:
    boxes = np.array([[101, 20, 104, 40], [106, 20, 109, 40], [230, 130, 240, 140], [20, 20, 30, 30]], dtype=float)
    assert nearest_panels(boxes, PANELS).tolist() == [0, 1, 1, 0]


def test_nothing() -> None:
    none = np.zeros((0, 4))
    assert containing_panels(none, PANELS).shape == (0,)
    assert containing_panels(PANELS, none).tolist() == [-1, -1, -1]
    assert nearest_panels(none, PANELS).shape == (0,)
