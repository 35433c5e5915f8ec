"""Where pages go, and that they appear whole or not at all."""

from pathlib import Path

import pytest
from PIL import Image

from diffsensei.inference.page_files import page_paths, write_pages


@pytest.mark.parametrize(
    ("output", "count", "expected"),
    [
        ("page.png", 1, ["page.png"]),
        ("new/page.PNG", 1, ["new/page.PNG"]),
        ("rain.png", 2, ["rain-001.png", "rain-002.png"]),
        ("pages", 1, ["pages/page-001.png"]),
        ("v1.2", 2, ["v1.2/page-001.png", "v1.2/page-002.png"]),
        ("folder.png", 1, ["folder.png/page-001.png"]),
    ],
)
def test_files_are_named_as_people_expect(tmp_path: Path, output: str, count: int, expected: list[str]) -> None:
    (tmp_path / "folder.png").mkdir()
    found = page_paths(tmp_path / output, count)
    assert [path.relative_to(tmp_path).as_posix() for path in found] == expected
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"], "nothing is made yet"


def test_places_that_cannot_be_written_are_refused_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file is a file; choose another output"):
        page_paths(tmp_path / "file" / "page.png", 1)
    with pytest.raises(ValueError, match="pages are PNG"):
        page_paths(tmp_path / "page.jpg", 1)
    (tmp_path / "story-001.png").mkdir()
    with pytest.raises(ValueError, match="found a folder there"):
        page_paths(tmp_path / "story.png", 2)


def test_pages_replace_what_was_there_and_leave_nothing_else(tmp_path: Path) -> None:
    paths = [tmp_path / "new" / f"{number}.png" for number in range(2)]
    for shade in (10, 20):
        write_pages([Image.new("L", (4, 4), shade)] * 2, paths)
        assert [Image.open(path).getpixel((0, 0)) for path in paths] == [shade] * 2
    assert sorted(path.name for path in paths[0].parent.iterdir()) == ["0.png", "1.png"]


def test_a_write_that_fails_leaves_the_old_pages(tmp_path: Path) -> None:
    """Images that cannot be PNG stand in for a full disk: the second write fails after the first was staged."""
    paths = [tmp_path / "0.png", tmp_path / "1.png"]
    write_pages([Image.new("L", (4, 4), 1)] * 2, paths)
    with pytest.raises(ValueError, match="cannot write pages to"):
        write_pages([Image.new("L", (4, 4), 2), Image.new("CMYK", (4, 4))], paths)
    assert [Image.open(path).getpixel((0, 0)) for path in paths] == [1, 1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.png", "1.png"]
