"""Folders that appear whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diffsensei.durable import flush


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A folder beside ``target`` to write into; it becomes ``target`` once the block ends without an error.

    What a killed run left behind is removed by the next. Raises ValueError if ``target`` exists and is not empty.
    """
    target = target.expanduser().resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(
            f"expected {target} to be new or an empty folder, it holds something; give another, or move it"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        yield aside
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    for path in sorted(aside.rglob("*"), reverse=True):
        flush(path)
    flush(aside)
    os.rename(aside, target)
    flush(target.parent)
