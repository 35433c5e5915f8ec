"""Importing images: verified bytes under their digest, a fate for each page, and no second reading of what is known."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from diffsensei.config.presets import tiny
from diffsensei.config.schema import FilesSource, Manga109Source, MangaZeroSource
from diffsensei.data.halves import read_halves
from diffsensei.data.images import encode_png
from diffsensei.data.records import parse_page
from diffsensei.data.sources import images
from diffsensei.data.sources.annotations import collect_annotations
from diffsensei.data.sources.images import import_images
from tests.data import poison
from tests.data.sources.manga109_folder import write_manga109

DOWNLOAD = tiny().data.download


def picture(seed: int, height: int = 24, width: int = 16) -> bytes:
    return encode_png(np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8))


def series(root: Path, num_pages: int) -> FilesSource:
    folder = root / "series"
    folder.mkdir()
    for index in range(num_pages):
        (folder / f"{index}.png").write_bytes(picture(index, height=20 + index))
    return FilesSource(paths=(str(folder),))


def stage(source, root: Path, name: str = "a") -> dict[str, Path]:
    """The folders of the import's arguments, with the listing done."""
    folders = {kind: root / f"{name}-{kind}" for kind in ("annotations", "workspace", "output")}
    for folder in folders.values():
        folder.mkdir()
    collect_annotations(source=source, workspace=folders["workspace"], output=folders["annotations"])
    return folders


def test_pages_get_their_size_and_their_fate(tmp_path: Path) -> None:
    source = series(tmp_path, 3)
    (tmp_path / "series" / "1.png").write_bytes(picture(1)[:200])
    folders = stage(source, tmp_path)
    (tmp_path / "series" / "2.png").unlink()
    import_images(source=source, download=DOWNLOAD, **folders)
    halves = read_halves(folders["output"] / "halves.parquet")
    assert {url: (half.state, half.reason) for url, half in halves.items()} == {
        "file:series/0.png": ("ok", ""),
        "file:series/1.png": ("quarantined", "truncated_image"),
        "file:series/2.png": ("missing", "no_such_file"),
    }
    pages = [parse_page(raw) for raw in json.loads((folders["output"] / "annotations.json").read_text())]
    assert [(page.meta.width, page.meta.height) for page in pages] == [(16, 20), (0, 0), (0, 0)]
    for half in halves.values():
        if half.sha256:
            kept = folders["output"] / ("objects" if half.state == "ok" else "rejected")
            data = (kept / half.sha256[:2] / half.sha256).read_bytes()
            assert hashlib.sha256(data).hexdigest() == half.sha256
    progress = json.loads((folders["workspace"] / "progress.json").read_text())
    assert progress["figures"]["images_per_s"] > 0


def test_manga109_keeps_its_record(tmp_path: Path) -> None:
    drawn = write_manga109(tmp_path / "m")
    source = Manga109Source(root=str(tmp_path / "m"), accept_terms=True)
    folders = stage(source, tmp_path)
    import_images(source=source, download=DOWNLOAD, **folders)
    halves = read_halves(folders["output"] / "halves.parquet")
    assert [half.state for half in halves.values()] == ["ok"] * len(drawn)
    for name in ("annotations.json", "licence.json", "selection.json"):
        assert (folders["output"] / name).exists()
    before = json.loads((folders["annotations"] / "annotations.json").read_text())
    assert json.loads((folders["output"] / "annotations.json").read_text()) == before


KILLED = """
import json, sys
from pathlib import Path
from diffsensei.config.presets import tiny
from diffsensei.config.schema import FilesSource
from diffsensei.data.sources import images
slow, judge = __import__("time").sleep, images._judge
images._judge = lambda *a, **k: (slow(0.3), judge(*a, **k))[1]
folders = {name: Path(path) for name, path in json.loads(sys.argv[2]).items()}
images.import_images(source=FilesSource(paths=(sys.argv[1],)), download=tiny().data.download, **folders)
"""


@pytest.mark.slow
def test_a_killed_import_goes_on_where_it_stopped(tmp_path: Path) -> None:
    source = series(tmp_path, 6)
    killed, whole = stage(source, tmp_path, "killed"), stage(source, tmp_path, "whole")
    arguments = [source.paths[0], json.dumps({name: str(path) for name, path in killed.items()})]
    process = subprocess.Popen([sys.executable, "-c", KILLED, *arguments])
    journal = killed["workspace"] / "journal.jsonl"
    deadline = time.monotonic() + 60
    while not journal.exists() or journal.read_bytes().count(b"\n") < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    known = journal.read_bytes().count(b"\n")
    for folders in (killed, whole):
        import_images(source=source, download=DOWNLOAD, **folders)
    assert journal.read_bytes().count(b"\n") == 6, f"{known} were known, the others read once"
    results = [
        {
            str(path.relative_to(folders["output"])): path.read_bytes()
            for path in folders["output"].rglob("*")
            if path.is_file() and "logs" not in path.parts
        }
        for folders in (killed, whole)
    ]
    assert results[0] == results[1]


def test_a_file_that_kills_its_decoder_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "image_size", poison.size_or_die)
    source = series(tmp_path, 4)
    for number, fate in ((1, b"segfault"), (2, b"eat")):
        path = tmp_path / "series" / f"{number}.png"
        path.write_bytes(path.read_bytes() + fate)
    folders = stage(source, tmp_path)
    import_images(source=source, download=DOWNLOAD, **folders)
    halves = read_halves(folders["output"] / "halves.parquet")
    assert [(half.state, half.reason) for half in halves.values()] == [
        ("ok", ""),
        ("quarantined", "decoder_died"),
        ("quarantined", "decoder_out_of_memory"),
        ("ok", ""),
    ]


def test_other_sources_are_not_imported(tmp_path: Path) -> None:
    folders = stage(series(tmp_path, 1), tmp_path)
    with pytest.raises(ValueError, match="files and manga109"):
        import_images(source=MangaZeroSource(annotations="x"), download=DOWNLOAD, **folders)
