"""Pages keep their panels' shapes, whatever they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from diffsensei.study.pages import anonymous_png, compose, page_frame, ruined

sides = st.integers(64, 1024)


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.tuples(sides, sides), min_size=1, max_size=14), width=st.integers(600, 1200))
def test_panels_keep_their_shape_and_do_not_overlap(sizes: list[tuple[int, int]], width: int) -> None:
    try:
        frame = page_frame(sizes, width)
    except ValueError as error:
        assert "lower study.page_width" in str(error)  # noqa: PT017  some shapes make pages too high
        return
    boxes = [panel.box for panel in frame.panels]
    assert len(boxes) == len(sizes)
    for box, (h, w) in zip(boxes, sizes, strict=True):
        assert box is not None
        pixels = (box[2] - box[0]) * frame.width, (box[3] - box[1]) * frame.height
        assert pixels[0] / pixels[1] == pytest.approx(w / h, rel=0.02)
    for i, a in enumerate(boxes):
        for b in boxes[i + 1 :]:
            assert a is not None
            assert b is not None
            apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] + 1e-9
            assert apart
            assert a[3] <= b[1] + 1e-9 or b[2] <= a[0], "reading goes from right to left, then down"


def test_a_page_shows_its_panels() -> None:
    frame = page_frame([(100, 100), (100, 100)], 400)
    sheet = compose(frame, [Image.new("L", (100, 100), 50), Image.new("L", (100, 100), 200)])
    assert sheet.getpixel((300, sheet.height // 2)) == 50, "the first panel is on the right"
    assert sheet.getpixel((100, sheet.height // 2)) == 200


def test_files_differ_where_pictures_do_not() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 60), dtype=np.uint8))
    one, two = (anonymous_png(image, np.random.default_rng(seed)) for seed in (0, 1))
    assert one != two
    assert one == anonymous_png(image, np.random.default_rng(0))


def test_a_ruin_has_nothing_of_its_panel() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 60), dtype=np.uint8))
    (ruin,) = ruined([image], np.random.default_rng(0))
    assert ruin.size == image.size
    assert len(set(ruin.get_flattened_data())) <= 36
