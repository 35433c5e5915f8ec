"""Contact sheets show pages with their boxes."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from diffsensei.config.schema import SyntheticSource
from diffsensei.data.preview import COLOURS, preview_world, write_contact_sheet
from diffsensei.data.sources.annotations import collect_annotations

SOURCE = SyntheticSource(num_series=2, pages_per_series=2, page_height=180, seed=0)


def _read(path: Path) -> np.ndarray:
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR))


def _share(sheet: np.ndarray, colour: tuple[int, int, int]) -> float:
    return float((sheet == np.array(colour)).all(axis=-1).mean())


def test_a_sheet_shows_every_kind_of_box(tmp_path: Path) -> None:
    preview_world(SOURCE, tmp_path / "new" / "sheet.png", 3)
    sheet = _read(tmp_path / "new" / "sheet.png")
    height, width = (2 * (540 + 24) + 18, 2 * 720)
    assert sheet.shape[0] > height
    assert sheet.shape[1] > width
    legend_only = 22 * 17 / sheet[..., 0].size
    assert all(_share(sheet, colour) > 3 * legend_only for colour in COLOURS.values())


def test_more_pages_make_a_taller_sheet(tmp_path: Path) -> None:
    for count in (2, 4):
        preview_world(SOURCE, tmp_path / f"{count}.png", count)
    assert _read(tmp_path / "4.png").shape[0] > 1.8 * _read(tmp_path / "2.png").shape[0]


def test_a_drawn_world_shows_the_same_pages_as_its_source(tmp_path: Path) -> None:
    source = SOURCE.replaced(num_series=1)
    (tmp_path / "workspace").mkdir()
    (tmp_path / "world").mkdir()
    collect_annotations(source=source, workspace=tmp_path / "workspace", output=tmp_path / "world")
    write_contact_sheet(source, tmp_path / "a.png", 2)
    write_contact_sheet(tmp_path / "world", tmp_path / "b.png", 2)
    assert np.array_equal(_read(tmp_path / "a.png"), _read(tmp_path / "b.png"))


def test_defective_pages_do_not_stop_a_preview(tmp_path: Path) -> None:
    source = SyntheticSource(num_series=4, pages_per_series=3, page_height=96, seed=1, defect_rate=1.0)
    (tmp_path / "workspace").mkdir()
    (tmp_path / "world").mkdir()
    collect_annotations(source=source, workspace=tmp_path / "workspace", output=tmp_path / "world")
    write_contact_sheet(tmp_path / "world", tmp_path / "sheet.png", 2)
    with pytest.raises(ValueError, match=r"only \d+ of 13 pages"):
        write_contact_sheet(tmp_path / "world", tmp_path / "sheet.png", 13)


@pytest.mark.parametrize(("count", "message"), [(0, "at least 1"), (5, "only 4 of 5")])
def test_impossible_numbers_of_pages_are_refused(tmp_path: Path, count: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        preview_world(SOURCE, tmp_path / "sheet.png", count)
