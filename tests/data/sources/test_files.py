"""Folders, archives and PDFs become lists of pages, each a series."""

import json
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from diffsensei.config.schema import FilesSource
from diffsensei.data.images import encode_png
from diffsensei.data.records import parse_page
from diffsensei.data.sources.annotations import collect_annotations
from diffsensei.data.sources.files import open_files
from tests.data.sources.pdf_files import drawn_pdf

PNG = encode_png(np.zeros((4, 4), np.uint8))


def library(root: Path) -> list[Path]:
    """A folder, an archive under a wrong suffix, and a PDF."""
    (root / "one" / "ch1").mkdir(parents=True)
    for name in ("ch1/2.png", "ch1/10.png"):
        (root / "one" / name).write_bytes(PNG)
    with zipfile.ZipFile(root / "two.bin", "w") as archive:
        archive.writestr("p1.png", PNG)
        archive.writestr("ComicInfo.xml", "<ComicInfo/>")
    (root / "three.pdf").write_bytes(drawn_pdf(num_pages=2))
    return [root / "one", root / "two.bin", root / "three.pdf"]


def collect(paths: list[Path], output: Path) -> None:
    output.mkdir()
    collect_annotations(source=FilesSource(paths=tuple(map(str, paths))), workspace=output, output=output)


def test_every_kind_of_file_is_a_series_of_pages(tmp_path: Path) -> None:
    paths = library(tmp_path)
    collect(paths, tmp_path / "out")
    pages = [parse_page(raw) for raw in json.loads((tmp_path / "out" / "annotations.json").read_text())]
    assert [page.image_path for page in pages] == [
        "one/ch1/2.png", "one/ch1/10.png", "two/p1.png", "three/0001.png", "three/0002.png",
    ]  # fmt: skip
    assert all(page.frames == () for page in pages)
    assert pages[0].meta.images[0].url == "file:one/ch1/2.png"
    assert json.loads((tmp_path / "out" / "skipped.json").read_text()) == {"hidden or system file": 1}


def test_what_is_offered_can_be_read(tmp_path: Path) -> None:
    with open_files(library(tmp_path), 72, Counter()) as offered:
        data = {image.name: image.read(10**6) for image in offered}
    assert data["one/ch1/2.png"] == data["two/p1.png"] == PNG


@pytest.mark.parametrize("what", ["gone", "text", "empty", "twins", "colon", "none"])
def test_paths_that_cannot_be_used_are_named(tmp_path: Path, what: str) -> None:
    (tmp_path / "text").write_bytes(b"hello")
    (tmp_path / "empty").mkdir()
    (tmp_path / "a").mkdir()
    paths, message = {
        "gone": (["gone"], "No such file"),
        "text": (["text"], "neither a ZIP"),
        "empty": (["empty"], "holds no image"),
        "twins": (["empty", "a/../empty"], "2 paths are called"),
        "colon": (["a:b.cbz"], "rename"),
        "none": ([], "data.source.paths is empty"),
    }[what]
    with pytest.raises(ValueError, match=message):
        collect([tmp_path / path for path in paths], tmp_path / "out")
