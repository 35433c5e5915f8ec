"""Where annotations come from: the synthetic world is drawn, a MangaZero file is checked and copied (sec. 3.2)."""

import shutil
from concurrent.futures import Executor
from pathlib import Path

from diffsensei.config.schema import DataSource, SyntheticSource
from diffsensei.data.annotation_file import iterate_annotations
from diffsensei.data.synthetic.world import draw_world
from diffsensei.progress import Progress


def collect_annotations(*, source: DataSource, workspace: Path, output: Path, executor: Executor | None = None) -> None:
    """Stage: write ``output/annotations.json``, a list of pages; a synthetic world adds ``served/`` and ``world.json``.

    Pages are drawn over the workers of ``executor`` where there is one. Raises ValueError (one line) if a MangaZero
    file is absent, is no JSON list of pages, or is empty.
    """
    if isinstance(source, SyntheticSource):
        total = source.num_series * source.pages_per_series
        progress = Progress(workspace / "progress.json", "draw pages", total, unit="pages")
        draw_world(source, output, progress, executor)
        return
    path = Path(source.annotations)
    if not any(True for _ in iterate_annotations(path)):
        raise ValueError(f"annotation file {path} is an empty list; expected at least one page")
    shutil.copyfile(path, output / "annotations.json")
