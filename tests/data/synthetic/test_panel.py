"""Panels: any size, reproducible, with boxes that are exact to the pixel."""

import cv2
import numpy as np
import pytest

from diffsensei.data.synthetic.backgrounds import PLACES
from diffsensei.data.synthetic.cast import POSES, State, draw_series
from diffsensei.data.synthetic.panel import DrawnCharacter, PanelScript, draw_character_crop, draw_panel, write_script
from diffsensei.seeding import numpy_stream

SERIES = draw_series(1, 2)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (150, 150), (33, 80), (97, 41), (300, 500), (20, 22)])
def test_a_panel_has_the_size_asked_for_and_boxes_inside_it(height: int, width: int) -> None:
    for draw in range(12):
        panel = draw_panel(numpy_stream(0, draw), SERIES, height, width)
        assert panel.image.shape == (height, width)
        assert panel.image.dtype == np.uint8
        assert panel.image[0].max() < 140, "the border is dark, however thin"
        boxes = np.concatenate([panel.relative_characters(), panel.relative_dialogs()])
        assert (boxes >= 0).all()
        assert (boxes <= 1).all()
        assert (boxes[:, :2] < boxes[:, 2:]).all()


def test_the_same_stream_draws_the_same_panel() -> None:
    first, second = (draw_panel(numpy_stream(4, 2), SERIES, 120, 140) for _ in range(2))
    assert np.array_equal(first.image, second.image)
    assert first.caption == second.caption
    assert first.characters == second.characters


@pytest.mark.parametrize("draw", range(24))
def test_a_character_box_is_tight_around_what_is_drawn(draw: int) -> None:
    """What panels with different backgrounds have in common is the figure with its white rim (and the border)."""
    side, unit = 320, 2.0
    state = State("happy", POSES[draw % 5], ("left", "right", "away")[draw % 3], ("far", "medium")[draw % 2], False)
    person = (SERIES.cast[draw % len(SERIES.cast)], state)
    panels = []
    for place in ("night", "rain", "sea", "sparkles", "sunset"):
        script = PanelScript(place, state.distance, (person,), 0)
        panels.append(draw_panel(numpy_stream(0, draw), SERIES, side, side, script=script, unit=unit))
    same = np.all([panel.image == panels[0].image for panel in panels], axis=0).astype(np.uint8)
    edge = round(SERIES.style.border * unit)
    same[:edge] = same[-edge:] = same[:, :edge] = same[:, -edge:] = 0
    _, _, stats, _ = cv2.connectedComponentsWithStats(same, connectivity=4)
    x, y, w, h, _ = stats[1 + stats[1:, cv2.CC_STAT_AREA].argmax()]
    halo = round(1.6 * unit)
    figure = np.array([x + halo, y + halo, x + w - halo, y + h - halo])
    box = np.array(panels[0].characters[0].box)
    assert all(panel.characters[0].box == panels[0].characters[0].box for panel in panels)
    whole = (box > edge + halo) & (box < side - edge - halo)
    assert whole.sum() >= 2, "at most two sides touch the border"
    assert np.abs(figure - box)[whole].max() <= 1


@pytest.mark.parametrize("index", range(8))
def test_a_dialog_box_is_tight_around_a_white_bubble_with_a_dark_contour(index: int) -> None:
    series, found = draw_series(1, index), 0
    for draw in range(12):
        panel = draw_panel(numpy_stream(1, draw), series, 260, 330)
        for x1, y1, x2, y2 in np.array(panel.dialogs, dtype=int).reshape(-1, 4):
            found += 1
            body = panel.image[y1:y2, x1:x2]
            for side in (body[:2], body[-2:], body[:, :2], body[:, -2:]):
                assert side.min() < 90, "ink touches each side of the box"
            height, width = body.shape
            middle = body[height // 4 : -height // 4, width // 4 : -width // 4]
            assert np.median(middle) == 255
    assert found > 5


def test_dialogs_do_not_overlap_and_hide_little_of_the_people() -> None:
    for draw in range(60):
        panel = draw_panel(numpy_stream(2, draw), SERIES, 140, 160)
        cover = np.zeros(panel.image.shape, int)
        for x1, y1, x2, y2 in np.array(panel.dialogs, dtype=int).reshape(-1, 4):
            cover[y1:y2, x1:x2] += 1
        assert cover.max(initial=0) <= 1
        assert all(character.box[2] - character.box[0] >= 10 for character in panel.characters)


def test_the_caption_and_the_boxes_agree_on_the_number_of_dialogs() -> None:
    words = {0: ("silent", "no speech"), 1: ("a speech bubble", "one speech bubble"), 2: ("two", "pair of speech")}
    for draw in range(60):
        panel = draw_panel(numpy_stream(3, draw), SERIES, 130, 90)
        ending = panel.caption.rpartition(", ")[2]
        assert any(word in ending for word in words.get(len(panel.dialogs), ("three",)))


@pytest.mark.parametrize("place", PLACES)
def test_every_place_looks_different(place: str) -> None:
    shots = {p: draw_panel(numpy_stream(0), SERIES, 64, 64, script=PanelScript(p, "far", (), 0)).image for p in PLACES}
    mine = shots.pop(place).astype(int)
    assert all(np.abs(mine - other).mean() > 8 for other in shots.values())


def test_types_grade_how_clean_a_face_is() -> None:
    def grade(facing: str, distance: str, intense: bool) -> int:
        state = State("angry", "standing", facing, distance, intense)
        return DrawnCharacter(SERIES.cast[0], state, (0, 0, 1, 1)).type

    assert grade("left", "close", False) == 0
    assert grade("left", "far", False) == 1
    assert grade("away", "medium", False) == 1
    assert grade("right", "far", True) == 2


def test_far_people_are_smaller_than_close_ones() -> None:
    heights = {}
    for distance in ("close", "medium", "far"):
        state = State("neutral", "standing", "left", distance, False)
        script = PanelScript("plain", distance, ((SERIES.cast[0], state),), 0)
        box = draw_panel(numpy_stream(0), SERIES, 128, 128, script=script).characters[0].box
        heights[distance] = box[3] - box[1]
    assert heights["far"] < heights["medium"] < heights["close"]


def test_scripts_keep_to_the_candidates_and_the_one_who_must_appear() -> None:
    cast = SERIES.cast[:3]
    counts = set()
    for draw in range(200):
        script = write_script(numpy_stream(5, draw), 100, 240, cast, always=cast[1])
        people = [identity for identity, _ in script.people]
        assert cast[1] in people
        assert set(people) <= set(cast)
        assert len(set(people)) == len(people)
        counts.add(len(people))
    assert counts == {1, 2, 3}


def test_a_crop_shows_its_character_and_varies() -> None:
    crops = [draw_character_crop(numpy_stream(0, k), SERIES, SERIES.cast[0], 32) for k in range(4)]
    assert {crop.shape for crop in crops} == {(32, 32)}
    assert not np.array_equal(crops[0], crops[1])
