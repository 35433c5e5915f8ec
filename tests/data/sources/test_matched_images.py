"""One's own files in the place of downloads: renamed, re-encoded, stitched, and some that belong to nothing."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from diffsensei.config.presets import tiny
from diffsensei.config.schema import MangaZeroSource, SyntheticSource
from diffsensei.data.download.pages import download_pages
from diffsensei.data.halves import read_halves
from diffsensei.data.images import decode_image
from diffsensei.data.objects import Objects
from diffsensei.data.sources.annotations import collect_annotations
from diffsensei.data.sources.hash_list import export_hashes, read_hashes
from diffsensei.data.sources.matched_images import match_images

WORLD = SyntheticSource(num_series=1, pages_per_series=4, page_height=144, seed=3)
DOWNLOAD = tiny().data.download


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """A world, and its finished download."""
    root = tmp_path_factory.mktemp("published")
    for name in ("annotations", "workspace", "download"):
        (root / name).mkdir()
    collect_annotations(source=WORLD, workspace=root / "workspace", output=root / "annotations")
    download_pages(
        source=WORLD, download=DOWNLOAD, library=root / "library", limits=root / "limits",
        annotations=root / "annotations",
        workspace=root / "workspace", output=root / "download",
    )  # fmt: skip
    return root


def originals(published: Path) -> list[bytes]:
    """The files of all urls in order: left, right, left, right..."""
    halves = read_halves(published / "download" / "halves.parquet")
    objects = Objects(published / "download" / "objects")
    pages = json.loads((published / "annotations" / "annotations.json").read_text())
    return [objects.path(halves[p["meta"][k]].sha256).read_bytes() for p in pages for k in ("url1", "url2")]


def run(published: Path, tmp_path: Path, **fields) -> tuple[pd.DataFrame, dict, Path]:
    for name in ("workspace", "output"):
        (tmp_path / name).mkdir(exist_ok=True)
    source = MangaZeroSource(annotations="x", images=(str(tmp_path / "mine"),), **fields)
    match_images(
        source=source, download=DOWNLOAD, annotations=published / "annotations",
        workspace=tmp_path / "workspace", output=tmp_path / "output",
    )  # fmt: skip
    table = pd.read_parquet(tmp_path / "output" / "matching.parquet")
    return table, json.loads((tmp_path / "output" / "matching.json").read_text()), tmp_path / "output"


def pixels(data: bytes) -> np.ndarray:
    return decode_image(data, max_megapixels=10).gray


def as_jpeg(gray: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(gray).save(file, "JPEG", quality=85)
    return file.getvalue()


def test_files_of_any_name_are_known_by_their_digest(published: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    files = originals(published)
    for number, data in enumerate(files[:3]):
        (tmp_path / "mine" / f"scan{9 - number}.bin").write_bytes(data)
    table, summary, output = run(published, tmp_path)
    assert (summary["matched"], summary["by_method"], summary["urls"]) == (3, {"sha256": 3}, 8)
    assert table["file"].tolist()[:3] == ["mine/scan9.bin", "mine/scan8.bin", "mine/scan7.bin"]
    halves = read_halves(output / "halves.parquet")
    assert halves == {u: h for u, h in read_halves(published / "download" / "halves.parquet").items() if u in halves}
    assert all(Objects(output / "objects").is_intact(half.sha256) for half in halves.values())


def test_a_hash_list_knows_copies_and_spreads(published: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    files = originals(published)
    (tmp_path / "mine" / "a.jpg").write_bytes(as_jpeg(pixels(files[0])))
    spread = np.hstack([pixels(files[2]), pixels(files[3])])
    (tmp_path / "mine" / "b.jpg").write_bytes(as_jpeg(spread))
    (tmp_path / "mine" / "cover.jpg").write_bytes(as_jpeg(pixels(files[5])[::-1]))
    (tmp_path / "mine" / "cut.jpg").write_bytes(as_jpeg(spread)[:500])
    assert export_hashes(published / "download", tmp_path / "hashes.json", max_megapixels=10) == 8
    assert len(read_hashes(tmp_path / "hashes.json")) == 8
    table, summary, output = run(published, tmp_path, hash_list=str(tmp_path / "hashes.json"))
    found = table[table["state"] == "matched"]
    assert found["file"].tolist() == ["mine/a.jpg", "mine/b.jpg", "mine/b.jpg"]
    assert set(found["method"]) == {"dhash"}
    assert summary["files_refused"] == {"truncated_image": 1}
    assert summary["files_unused"] == 1
    halves = read_halves(output / "halves.parquet")
    left = pixels(Objects(output / "objects").path(halves[found["url"].iloc[1]].sha256).read_bytes())
    assert left.shape == pixels(files[2]).shape
    assert np.abs(left.astype(int) - pixels(files[2])).mean() < 8, "the left half of the spread, re-encoded"


def test_without_hashes_copies_of_one_shape_stay_ambiguous(published: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for number, data in enumerate(originals(published)[:2]):
        (tmp_path / "mine" / f"{number}.jpg").write_bytes(as_jpeg(pixels(data)))
    table, summary, output = run(published, tmp_path)
    assert (summary["matched"], summary["ambiguous"]) == (0, 8)
    assert table["evidence"].str.contains("mine/0.jpg").all()
    assert read_halves(output / "halves.parquet") == {}


@pytest.mark.parametrize(
    "content", ["[]", "{", '{"version": 2, "images": {}}', '{"version": 1, "images": {"u": {"dhash": "x"}}}']
)
def test_a_bad_hash_list_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "h.json").write_text(content)
    with pytest.raises(ValueError, match="hash_list"):
        read_hashes(tmp_path / "h.json")
