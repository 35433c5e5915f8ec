"""Where annotations come from: the synthetic world is drawn, the other sources are read (paper sec. 3.2)."""

import shutil
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffsensei.config.schema import DataSource, FilesSource, Manga109Source, MangaZeroSource, SyntheticSource
from diffsensei.data.annotation_file import iterate_annotations
from diffsensei.data.sources.files import collect_files
from diffsensei.data.sources.manga109 import collect_manga109
from diffsensei.data.synthetic.world import draw_world
from diffsensei.progress import Progress


@dataclass(frozen=True)
class _Desk:
    """What a collector may use beside its source."""

    workspace: Path
    output: Path
    executor: Executor | None


def collect_annotations(*, source: DataSource, workspace: Path, output: Path, executor: Executor | None = None) -> None:
    """Stage: write ``output/annotations.json``, a list of pages.

    A synthetic world adds ``served/`` and ``world.json``; Manga109 ``licence.json`` and ``selection.json``; files of
    one's own ``skipped.json``. Pages of a world are drawn over the workers of ``executor`` where there is one. Raises
    ValueError (one line) if what the source names is absent, is not what it should be, or holds no page.
    """
    COLLECTORS[source.kind](source, _Desk(workspace, output, executor))


def _draw(source: SyntheticSource, desk: _Desk) -> None:
    total = source.num_series * source.pages_per_series
    progress = Progress(desk.workspace / "progress.json", "draw pages", total, unit="pages")
    draw_world(source, desk.output, progress, desk.executor)


def _copy(source: MangaZeroSource, desk: _Desk) -> None:
    path = Path(source.annotations)
    if not any(True for _ in iterate_annotations(path)):
        raise ValueError(f"annotation file {path} is an empty list; expected at least one page")
    shutil.copyfile(path, desk.output / "annotations.json")


def _read_manga109(source: Manga109Source, desk: _Desk) -> None:
    collect_manga109(source, desk.output)


def _list_files(source: FilesSource, desk: _Desk) -> None:
    collect_files(source, desk.output)


COLLECTORS: dict[str, Callable[[Any, _Desk], None]] = {
    "synthetic": _draw,
    "mangazero": _copy,
    "manga109": _read_manga109,
    "files": _list_files,
}
"""Kind of source -> what collects its annotations."""
