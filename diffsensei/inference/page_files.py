"""Where the pages of a story go, and how they get there: all or none, whole or not at all."""

import os
import uuid
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

_OTHER_PICTURES = {".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".pdf", ".svg"}


def page_paths(output: Path, num_pages: int) -> list[Path]:
    """The files of ``num_pages`` pages for what a person called ``output``.

    ``page.png``: that file for one page, ``page-001.png``, ``page-002.png``... for several. Anything else is a folder,
    which gets ``page-001.png``... Raises ValueError if another picture format was asked for, or the place cannot be
    written to: that is checked here, before anything is drawn.
    """
    if output.suffix.lower() in _OTHER_PICTURES and not output.is_dir():
        raise ValueError(f"expected a .png file or a folder as output, got {output}; pages are PNG")
    if output.suffix.lower() != ".png" or output.is_dir():
        paths = [output / f"page-{number:03d}.png" for number in range(1, num_pages + 1)]
    elif num_pages == 1:
        paths = [output]
    else:
        paths = [output.with_name(f"{output.stem}-{number:03d}.png") for number in range(1, num_pages + 1)]
    _check_writable(paths[0].parent)
    occupied = next((path for path in paths if path.is_dir()), None)
    if occupied:
        raise ValueError(f"expected to write the file {occupied}, found a folder there; choose another output")
    return paths


def write_pages(pages: Sequence[Image.Image], paths: Sequence[Path]) -> None:
    """Write ``pages`` to ``paths`` (one folder, made if need be), replacing what is there, once all are on disk.

    Raises ValueError if that fails; the files are then as before.
    """
    folder = paths[0].parent
    staged: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for page, path in zip(pages, paths, strict=True):
            staged.append(path.with_name(f".{path.name}.{uuid.uuid4().hex}"))
            with staged[-1].open("wb") as file:
                page.save(file, format="PNG")
                file.flush()
                os.fsync(file.fileno())
        for temporary, path in zip(staged, paths, strict=True):
            os.replace(temporary, path)
    except OSError as error:
        raise ValueError(f"cannot write pages to {folder}: {error.strerror or error}; choose another output") from error
    finally:
        for temporary in staged:
            temporary.unlink(missing_ok=True)


def _check_writable(folder: Path) -> None:
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise ValueError(f"expected a folder for the pages, {existing} is a file; choose another output")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ValueError(f"cannot write to {existing}; choose another output")
