from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diffsensei.data.panels.buckets import Bucket
from diffsensei.data.panels.panel_set import CROP_SCHEMA, PANEL_SCHEMA
from diffsensei.data.panels.training_panels import read_training_panels

BUCKETS = (Bucket(64, 64, 0), Bucket(32, 128, 0))
NO_ADDRESS = {"shard": 0, "offset": 0, "length": 0, "crc32": 0}


def character(identity: str, box: list[float], page_box: list[float], kind: int = 0) -> dict[str, Any]:
    return {"id": identity, "box": box, "page_box": page_box, "type": kind}


def panel(index: int, page: str, height: int, width: int, caption: str, **more: Any) -> dict[str, Any]:
    return {
        "panel_id": f"{page}-{index}",
        "page_id": page,
        "series": "s",
        "page_index": 0,
        "panel_index": index,
        "height": height,
        "width": width,
        "caption": caption,
        "characters": more.get("characters", []),
        "dialogs": more.get("dialogs", []),
        "excluded_ids": more.get("excluded_ids", []),
        **NO_ADDRESS,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two panels of page p (ids a and b, b excluded; a too small in the second), one of page q (another a)."""
    panels = [
        panel(
            0,
            "p",
            100,
            200,
            "one",
            characters=[
                character("a", [0.4, 0.2, 0.6, 0.8], [80, 20, 120, 80]),
                character("b", [0.0, 0.0, 0.2, 0.5], [0, 0, 40, 50]),
                character("a2", [0.5, 0.0, 0.9, 0.5], [100, 0, 180, 50], 2),
            ],
            dialogs=[[0.25, 0.0, 0.75, 0.5], [0.0, 0.0, 0.2, 0.2]],
            excluded_ids=["b"],
        ),
        panel(1, "p", 32, 128, "two", characters=[character("a", [0, 0, 0.1, 1], [0, 0, 8, 32])], excluded_ids=["b"]),
        panel(0, "q", 64, 64, "one", characters=[character("a", [-0.5, 0, 0.5, 1], [0, 0, 32, 64])]),
    ]
    crops = [
        {"crop_id": row, "page_id": page, "character_id": identity, "panel_id": name, "character_index": place}
        | {"type": kind, "height": height, "width": width, **NO_ADDRESS}
        for row, (page, identity, name, place, kind, height, width) in enumerate(
            [
                ("p", "a", "p-0", 0, 0, 60, 40),
                ("p", "b", "p-0", 1, 0, 50, 40),
                ("p", "a2", "p-0", 2, 2, 50, 80),
                ("p", "a", "p-1", 0, 0, 32, 8),
                ("q", "a", "q-0", 0, 0, 64, 32),
            ]
        )
    ]
    pq.write_table(pa.Table.from_pylist(panels, schema=PANEL_SCHEMA), tmp_path / "panels.parquet")
    pq.write_table(pa.Table.from_pylist(crops, schema=CROP_SCHEMA), tmp_path / "crops.parquet")
    return tmp_path


def test_boxes_follow_the_centre_crop(folder: Path) -> None:
    panels = read_training_panels(folder, np.array([0, 1, 0]), BUCKETS, min_reference_side=12)
    # 100x200 covers 64x64 as 64x128, cropped 32 px on either side: x -> 2x - 0.5.
    np.testing.assert_allclose(panels.character_boxes[0], [0.3, 0.2, 0.7, 0.8], atol=1e-6)
    np.testing.assert_allclose(panels.dialog_boxes, [[0.0, 0.0, 1.0, 0.5], [0.0, 0.0, 0.0, 0.2]], atol=1e-6)
    assert panels.dialog_usable.tolist() == [True, False]  # the second dialog is cropped away
    assert panels.character_usable.tolist() == [True, False, True, True, True]
    np.testing.assert_allclose(panels.character_boxes[4], [0, 0, 0.5, 1])
    np.testing.assert_array_equal(panels.time_ids[0], [100, 200, 0, 32, 64, 64])
    assert panels.character_starts.tolist() == [0, 3, 4, 5]


def test_uncropped_boxes_stay_relative_to_the_whole_panel(folder: Path) -> None:
    """As the reference code leaves them: 100x200 shows only its middle half, the boxes do not know."""
    corrected = read_training_panels(folder, np.array([0, 1, 0]), BUCKETS, 12)
    panels = read_training_panels(folder, np.array([0, 1, 0]), BUCKETS, 12, boxes="uncropped")
    inside = panels.character_boxes[0]
    np.testing.assert_allclose(corrected.character_boxes[0], [2 * inside[0] - 0.5, 0.2, 2 * inside[2] - 0.5, 0.8])
    np.testing.assert_allclose(inside, [0.4, 0.2, 0.6, 0.8], atol=1e-6)
    assert panels.dialog_usable.all()
    np.testing.assert_array_equal(panels.time_ids, corrected.time_ids)


def test_references_are_clean_large_and_of_the_same_page(folder: Path) -> None:
    panels = read_training_panels(folder, np.array([0, 1, 0]), BUCKETS, min_reference_side=12)
    pools = [panels.references[low:high].tolist() for low, high in panels.reference_ranges]
    assert pools == [[0], [1], [], [0], [4]]  # a2 is exaggerated, the small a may not serve but may be shown
    assert panels.own_crops.tolist() == [0, 1, 2, -1, 4]
    wide = read_training_panels(folder, np.array([0, 1, 0]), BUCKETS, min_reference_side=7)
    low, high = wide.reference_ranges[0]
    assert wide.references[low:high].tolist() == [0, 3]


def test_captions_are_distinct_and_the_empty_one_leads(folder: Path) -> None:
    panels = read_training_panels(folder, np.array([0, 1, 0]), BUCKETS, min_reference_side=12)
    assert panels.captions == ["", "one", "two"]
    assert panels.panel_captions.tolist() == [1, 2, 1]
    assert panels.character_areas[1] == 2000
