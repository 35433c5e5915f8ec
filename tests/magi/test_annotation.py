import numpy as np
from numpy.typing import NDArray

from diffsensei.magi.annotation import annotate_page, annotate_pages
from diffsensei.magi.magi import Magi
from diffsensei.magi.page import MagiPage

NONE = np.zeros((0, 4))


def page(
    panels: list[list[float]], characters: list[list[float]], clusters: list[int], texts: list[list[float]]
) -> MagiPage:
    boxes = [np.array(found, dtype=float).reshape(-1, 4) for found in (panels, characters, texts)]
    scores = [np.full(len(found), 0.5) for found in boxes]
    return MagiPage(
        panels=boxes[0],
        panel_scores=scores[0],
        characters=boxes[1],
        character_scores=scores[1],
        character_clusters=np.array(clusters, dtype=np.int64),
        texts=boxes[2],
        text_scores=scores[2],
        dialog_scores=scores[2],
        text_characters=np.zeros((0, 2), dtype=np.int64),
    )


def test_frames_by_hand() -> None:
    found = page(
        panels=[[110, 0, 200, 100], [0, 0, 100, 100]],
        characters=[[20, 20, 40, 90], [90, 20, 170, 90], [50, 20, 70, 90], [300, 0, 310, 20]],
        clusters=[0, 1, 0, 2],
        texts=[[150, 5, 190, 20], [5, 5, 30, 20], [102, 5, 108, 20]],
    )
    annotated = annotate_page(found, 400, 400)
    right, left = annotated.frames
    assert right.bbox == (110, 0, 200, 100)
    assert [(c.id, c.bbox, c.type) for c in right.characters] == [(1, (90, 20, 170, 90), 0)]
    assert [d.bbox for d in right.dialogs] == [(150, 5, 190, 20)]
    assert [(c.id, c.bbox) for c in left.characters] == [(0, (20, 20, 40, 90)), (0, (50, 20, 70, 90))]
    assert [d.bbox for d in left.dialogs] == [(5, 5, 30, 20)]
    assert {right.caption, left.caption} == {""}
    assert annotated.outside == 2


def test_a_page_without_panels_is_one_frame() -> None:
    annotated = annotate_page(page([], [[20, 20, 40, 90]], [0], []), 300, 200)
    (frame,) = annotated.frames
    assert frame.bbox == (0, 0, 200, 300)
    assert len(frame.characters) == 1
    assert annotated.outside == 0


def test_every_box_magi_finds_is_in_one_frame_or_counted(magi: Magi, pages: list[NDArray[np.uint8]]) -> None:
    read = magi.read_pages(pages)
    for found, annotated in zip(read, annotate_pages(magi, pages), strict=True):
        frames = annotated.frames
        assert len(frames) == max(len(found.panels), 1)
        boxes = [c.bbox for f in frames for c in f.characters] + [d.bbox for f in frames for d in f.dialogs]
        expected = [tuple(box) for box in (*found.characters.tolist(), *found.texts.tolist())]
        assert len(boxes) + annotated.outside == len(expected)
        assert set(boxes) <= set(expected)
