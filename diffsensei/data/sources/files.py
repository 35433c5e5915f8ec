"""Files of one's own as a list of pages without annotation: folders, comic archives and PDFs, each a series."""

import json
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from diffsensei.config.schema import FilesSource
from diffsensei.data.page_paths import series_of
from diffsensei.data.records import OneFile, PageAnnotation
from diffsensei.data.refusal import Refusal
from diffsensei.data.sources.archives import Archive
from diffsensei.data.sources.folders import offer_folder
from diffsensei.data.sources.offered import Offered, acceptable_name
from diffsensei.data.sources.pdf import offer_pdf

PDF_DPI = 300
"""Where no source says otherwise."""


def collect_files(source: FilesSource, output: Path) -> None:
    """Write ``annotations.json``, a page without frames for every image, and ``skipped.json``, counts of other files.

    Sizes are 0 until the images are decoded. Raises ValueError (one line) for a path that cannot be read or
    holds no image.
    """
    pages: list[dict[str, Any]] = []
    skipped: Counter[str] = Counter()
    paths = [Path(path) for path in source.paths]
    with open_files(paths, source.pdf_dpi, skipped) as offered:
        for image in offered:
            meta = OneFile(file=image.name, width=0, height=0)
            pages.append(PageAnnotation(image_path=image.name, frames=(), meta=meta).model_dump(mode="json"))
    found = {series_of(page["image_path"]) for page in pages}
    for path in paths:
        if _series_name(path) not in found:
            raise ValueError(f"{path} holds no image; expected JPEG, PNG or WebP files in it")
    (output / "annotations.json").write_text(json.dumps(pages))
    (output / "skipped.json").write_text(json.dumps(dict(sorted(skipped.items()))))


@contextmanager
def open_files(paths: Sequence[Path], pdf_dpi: int, skipped: Counter[str]) -> Iterator[Iterator[Offered]]:
    """The images of all ``paths`` in order, called ``<series>/<name>``; each can be read until the next is asked for.

    Raises ValueError (one line) when two paths have one name, and for a path that is nothing we read.
    """
    series = [_series_name(path) for path in paths]
    for name, count in Counter(name.casefold() for name in series).items():
        if count > 1:
            raise ValueError(f"{count} paths are called {name!r}, one series; rename some")
    if not paths:
        raise ValueError("data.source.paths is empty; expected at least one folder, CBZ or ZIP archive or PDF")

    def offered() -> Generator[Offered, None, None]:
        for name, path in zip(series, paths, strict=True):
            for image in _offer(path, pdf_dpi, skipped):
                yield replace(image, name=f"{name}/{image.name}")

    images = offered()
    try:
        yield images
    finally:
        images.close()


def _offer(path: Path, pdf_dpi: int, skipped: Counter[str]) -> Iterator[Offered]:
    """What ``path`` offers; its kind is read from its first bytes, not from its name."""
    if path.is_dir():
        yield from offer_folder(path, skipped)
        return
    try:
        with path.open("rb") as file:
            head = file.read(1024)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; expected a folder, a CBZ or ZIP archive or a PDF") from None
    if head.startswith(b"PK"):
        with Archive(path) as archive:
            yield from archive.offer(skipped)
    elif b"%PDF-" in head:
        yield from offer_pdf(path, pdf_dpi)
    else:
        raise ValueError(
            f"{path} is neither a ZIP or CBZ archive nor a PDF (it starts with {head[:8]!r}); expected one of them or "
            "a folder: RAR, 7z and tar archives must be packed as ZIP"
        )


def _series_name(path: Path) -> str:
    """The name of the folder, or of the file without its suffix. Raises ValueError if it cannot be that of a series."""
    name = path.resolve().name if path.is_dir() else path.stem
    try:
        return acceptable_name(name)
    except Refusal as refusal:
        raise ValueError(f"{path}: its name becomes the series', and {refusal.evidence}; rename it") from None
