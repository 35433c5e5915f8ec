"""Collecting annotations from the two sources."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from diffsensei.config.schema import MangaZeroSource, SyntheticSource
from diffsensei.data.sources.annotations import collect_annotations


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("workspace", "output"):
        (tmp_path / name).mkdir()
    return tmp_path / "workspace", tmp_path / "output"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_synthetic_source_is_drawn(folders: tuple[Path, Path], workers: int) -> None:
    workspace, output = folders
    source = SyntheticSource(num_series=2, pages_per_series=2, page_height=96, seed=0)
    if workers:
        with ThreadPoolExecutor(workers) as executor:
            collect_annotations(source=source, workspace=workspace, output=output, executor=executor)
    else:
        collect_annotations(source=source, workspace=workspace, output=output)
    assert sorted(path.name for path in output.iterdir()) == ["annotations.json", "served", "world.json"]
    assert len(json.loads((output / "annotations.json").read_text())) == 4
    progress = json.loads((workspace / "progress.json").read_text())
    assert (progress["done"], progress["total"], progress["unit"]) == (4, 4, "pages")


def test_a_mangazero_file_is_copied_byte_by_byte(folders: tuple[Path, Path], tmp_path: Path) -> None:
    workspace, output = folders
    path = tmp_path / "list.json"
    path.write_text('[ {"image_path": "a"} ]\n')
    collect_annotations(source=MangaZeroSource(annotations=str(path)), workspace=workspace, output=output)
    assert (output / "annotations.json").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("content", "message"), [(None, "does not exist"), ("{}", "list of pages"), ("[]", "empty")])
def test_a_mangazero_file_that_cannot_be_used_is_refused(
    folders: tuple[Path, Path], tmp_path: Path, content: str | None, message: str
) -> None:
    workspace, output = folders
    path = tmp_path / "list.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=message):
        collect_annotations(source=MangaZeroSource(annotations=str(path)), workspace=workspace, output=output)
    assert not list(output.iterdir())
