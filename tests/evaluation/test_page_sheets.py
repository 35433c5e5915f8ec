import numpy as np

from diffsensei.evaluation.page_sheets import GUTTER, into_panels, lay_out, page_runs


def test_panels_stand_whole_and_apart_on_the_sheet():
    rng = np.random.default_rng(0)
    panels = [rng.integers(0, 200, size=size, dtype=np.uint8) for size in ((40, 60), (30, 90), (70, 20), (10, 10))]
    sheet = lay_out(panels)
    taken = np.zeros(sheet.image.shape, int)
    for panel, (x1, y1, x2, y2) in zip(panels, sheet.frames.astype(int), strict=True):
        np.testing.assert_array_equal(sheet.image[y1:y2, x1:x2], panel)
        taken[y1 - GUTTER // 2 : y2 + GUTTER // 2, x1 - GUTTER // 2 : x2 + GUTTER // 2] += 1
    assert taken.max() == 1
    assert (sheet.image[taken == 0] == 255).all()


def test_boxes_come_back_to_the_panel_of_their_centre_clipped():
    frames = np.array([[10.0, 10, 50, 50], [60.0, 10, 100, 50]])
    boxes = np.array([[15.0, 15, 25, 30], [40.0, 20, 58, 30], [62.0, 0, 80, 40], [48.0, 20, 62, 30]])
    first, second = into_panels(boxes, frames)
    np.testing.assert_array_equal(first, [[5, 5, 15, 20], [30, 10, 40, 20]])
    np.testing.assert_array_equal(second, [[2, 0, 20, 30]])
    assert [len(part) for part in into_panels(np.zeros((0, 4)), frames)] == [0, 0]


def test_runs_of_pages():
    assert page_runs(["a", "a", "b", "a"]) == [range(0, 2), range(2, 3), range(3, 4)]
    assert page_runs([]) == []
