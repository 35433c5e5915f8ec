"""Bring the images of local sources: verified bytes under their digest, a fate for each, as a download leaves them."""

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from diffsensei.config.schema import DataSource, DownloadConfig, FilesSource, Manga109Source
from diffsensei.data.annotation_file import read_annotations, write_annotations
from diffsensei.data.download.journal import Journal
from diffsensei.data.halves import Half, write_halves
from diffsensei.data.images import image_size
from diffsensei.data.objects import Objects
from diffsensei.data.refusal import Refusal
from diffsensei.data.sandbox import Limits, shared_sandbox
from diffsensei.data.sources.files import open_files
from diffsensei.data.sources.manga109 import open_images
from diffsensei.data.sources.offered import Offered
from diffsensei.progress import Progress


def import_images(
    *, source: DataSource, download: DownloadConfig, annotations: Path, workspace: Path, output: Path
) -> None:
    """Stage: read and verify the image of every page of ``annotations/annotations.json`` from local files.

    Writes what a download does: ``objects/``, ``rejected/``, ``halves.parquet`` and ``annotations.json``, where pages
    that came without their size have that of the decoded image. An interrupted run goes on where it stopped. Raises
    ValueError for a source that is not local files.
    """
    pages = read_annotations(annotations / "annotations.json")
    wanted = {f"file:{page['meta']['file']}": page["meta"] for page in pages}
    began = time.monotonic()
    with _open(source, wanted) as offered:
        fates = bring(offered, wanted, download, workspace)
    records = [fates.get(url) or Half.refused(url, _gone(url)) for url in wanted]
    link_objects(records, workspace, output)
    write_halves(records, output / "halves.parquet")
    for url, meta in wanted.items():
        record = fates.get(url)
        if record is not None and record.state == "ok" and not meta["width"]:
            meta["width"], meta["height"] = record.width, record.height
    write_annotations(pages, output / "annotations.json")
    for name in ("licence.json", "selection.json", "skipped.json"):
        if (annotations / name).exists():
            shutil.copyfile(annotations / name, output / name)
    (output / "logs").mkdir()
    elapsed_s = time.monotonic() - began
    figures = {"images": len(wanted), "elapsed_s": elapsed_s, "images_per_s": len(wanted) / max(elapsed_s, 1e-9)}
    (output / "logs" / "throughput.json").write_text(json.dumps(figures))


def bring(
    offered: Iterator[Offered], wanted: Mapping[str, Any], download: DownloadConfig, workspace: Path
) -> dict[str, Half]:
    """The fate of each ``wanted`` url that is ``offered``; objects and journal in ``workspace``.

    What an earlier attempt has verified is not read again. Decoding is a child process' work.
    """
    objects, rejected = Objects(workspace / "objects"), Objects(workspace / "rejected")
    with Journal(workspace / "journal.jsonl") as journal:
        fates = {
            url: record
            for url, record in journal.read().items()
            if url in wanted and record.state == "ok" and objects.is_intact(record.sha256)
        }
        progress = Progress(workspace / "progress.json", "import images", len(wanted), unit="images", start=len(fates))
        began, brought = time.monotonic(), 0
        for image in offered:
            url = f"file:{image.name}"
            if url not in wanted or url in fates:
                continue
            fates[url] = _judge(url, image, download, objects, rejected)
            journal.append(fates[url])
            brought += 1
            progress.advance(images_per_s=round(brought / max(time.monotonic() - began, 1e-9), 2))
        progress.advance(len(wanted) - len(fates))
    return fates


def _judge(url: str, image: Offered, download: DownloadConfig, objects: Objects, rejected: Objects) -> Half:
    try:
        data = image.read(download.max_bytes)
    except Refusal as refusal:
        return Half.refused(url, refusal)
    try:
        height, width = shared_sandbox(Limits()).run(image_size, data, max_megapixels=download.max_megapixels)
    except Refusal as refusal:
        return Half.refused(url, refusal, rejected.write(data))
    return Half(url=url, state="ok", sha256=objects.write(data), width=width, height=height)


def link_objects(records: list[Half], workspace: Path, output: Path) -> None:
    """Give ``output`` the ``objects/`` and ``rejected/`` that ``records`` name, out of the workspace."""
    for state, name in (("ok", "objects"), ("quarantined", "rejected")):
        kept, target = Objects(workspace / name), Objects(output / name)
        for record in records:
            if record.state == state and record.sha256:
                kept.link_to(target, record.sha256)


def _gone(url: str) -> Refusal:
    return Refusal("no_such_file", f"{url} was there when the pages were listed", state="missing")


@contextmanager
def _open_files_of(source: FilesSource, _: Mapping[str, Any]) -> Iterator[Iterator[Offered]]:
    with open_files([Path(path) for path in source.paths], source.pdf_dpi, Counter()) as offered:
        yield offered


@contextmanager
def _open_manga109(source: Manga109Source, wanted: Mapping[str, Any]) -> Iterator[Iterator[Offered]]:
    yield open_images(Path(source.root), [meta["file"] for meta in wanted.values()])


OPENERS: dict[str, Callable[[Any, Mapping[str, Any]], AbstractContextManager[Iterator[Offered]]]] = {
    "files": _open_files_of,
    "manga109": _open_manga109,
}
"""Kind of source -> how its images are offered, given what is wanted by url."""


def _open(source: DataSource, wanted: Mapping[str, Any]) -> AbstractContextManager[Iterator[Offered]]:
    if source.kind not in OPENERS:
        raise ValueError(f"data.source is {source.kind}; images are imported of {' and '.join(OPENERS)} only")
    return OPENERS[source.kind](source, wanted)
