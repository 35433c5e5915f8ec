import pandas as pd
import pytest
from PIL import Image

from reports.page_frames import page_frames
from reports.requested_panels import RequestedPanel


def _panel(number, page="one", width=200, height=100):
    fields = {"panel_id": f"{page}-{number}", "page_id": page, "series": "s", "panel_index": number, "caption": ""}
    return RequestedPanel(**fields, height=height, width=width, characters=(), dialogs=(), seed=0)


@pytest.fixture
def validated(tmp_path):
    pages = pd.DataFrame([{"page_id": "one", "series": "s", "width": 400, "height": 200}])
    pages.to_parquet(tmp_path / "pages.parquet")
    rows = [("one-0", 200, 0, 400, 100), ("one-1", -4, 100, 200, 200), ("one-2", 0, 0, 50, 50)]
    boxes = [dict(zip(("panel_id", "x1", "y1", "x2", "y2"), row, strict=True)) | {"page_id": "one"} for row in rows]
    pd.DataFrame(boxes).to_parquet(tmp_path / "panels.parquet")
    return tmp_path


def test_panels_stand_where_they_were_annotated(validated):
    (frame,) = page_frames([_panel(0), _panel(1)], [validated.parent / "nothing", validated])
    assert (frame.width, frame.height, frame.annotated, frame.picture) == (400, 200, True, None)
    assert frame.boxes == {"one-0": (0.5, 0.0, 1.0, 0.5), "one-1": (0.0, 0.5, 0.5, 1.0)}


def test_the_page_itself_is_found_beside_its_tables(validated):
    (validated / "pages").mkdir()
    Image.new("L", (400, 200)).save(validated / "pages" / "one.png")
    (frame,) = page_frames([_panel(0)], [validated])
    assert frame.picture == validated / "pages" / "one.png"


def test_unknown_panels_stand_on_shelves_from_right_to_left(validated):
    panels = [_panel(0, "two"), _panel(1, "two"), _panel(2, "two", width=400)]
    (frame,) = page_frames(panels, [validated])
    assert not frame.annotated
    first, second, third = (frame.boxes[panel.panel_id] for panel in panels)
    assert first[0] >= second[2]
    assert third[1] >= first[3]
    for panel, box in zip(panels, (first, second, third), strict=True):
        assert (box[2] - box[0]) * frame.width == pytest.approx(panel.width)
        assert (box[3] - box[1]) * frame.height == pytest.approx(panel.height)
        assert min(box) >= 0
        assert max(box) <= 1


def test_a_page_with_one_panel_unknown_is_wholly_on_shelves(validated):
    (frame,) = page_frames([_panel(0), _panel(7)], [validated])
    assert not frame.annotated
