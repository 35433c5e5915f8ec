"""Fetch the page halves that an annotation file names, once each, and verify them (paper sec. 3.2: MangaZero).

Every url ends in a state and a reason; dead urls are the normal case, so nothing here is fatal but being shut out.
"""

import asyncio
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from diffsensei.config.schema import DataSource, DownloadConfig, MangaZeroSource
from diffsensei.data.annotation_file import iterate_annotations
from diffsensei.data.download.chapters import chapters_by_url
from diffsensei.data.download.fetching import ImageFetcher
from diffsensei.data.download.journal import Journal
from diffsensei.data.halves import Half, write_halves
from diffsensei.data.images import image_size
from diffsensei.data.objects import Objects
from diffsensei.data.page_paths import check_image_path
from diffsensei.data.records import parse_page
from diffsensei.data.refusal import Refusal
from diffsensei.data.sandbox import Limits, shared_sandbox
from diffsensei.data.sources.hash_list import NAMED_DIGEST
from diffsensei.data.sources.matched_images import match_images
from diffsensei.data.synthetic.page import SYNTHETIC_HOST
from diffsensei.data.synthetic.server import serve
from diffsensei.progress import Progress

CONTENT_TRIES = 2
"""Downloads of a url whose bytes are wrong: once more, as hosts serve a wrong image now and then."""


def download_pages(
    *,
    source: DataSource,
    download: DownloadConfig,
    library: Path,
    limits: Path,
    annotations: Path,
    workspace: Path,
    output: Path,
) -> None:
    """Stage: bring url1 and url2 of every readable page of ``annotations/annotations.json``.

    Files of one's own come first, where ``source.images`` names any (`match_images`, whose tables are written too); the
    rest is fetched, or missing where downloading was not agreed to.

    Writes ``objects/<aa>/<sha256>`` (verified original bytes), ``rejected/`` (bytes that failed a check),
    ``halves.parquet`` (one row per distinct url) and a copy of the annotations. An interrupted run goes on where
    it stopped; what is in ``library`` (a folder that outlives runs) is not fetched again. ``limits`` holds the limiters
    that all downloaders of the machine share. The synthetic world has both in its workspace.

    Raises ValueError when downloading was not agreed to, or the host shuts us out.
    """
    only_own = isinstance(source, MangaZeroSource) and bool(source.images) and not source.accept_download
    contact = "" if only_own else _contact(source)
    file = annotations / "annotations.json"
    matched = _own_images(source, download, annotations, workspace, output)
    urls = [url for url in page_urls(iterate_annotations(file)) if url not in matched]
    if only_own:
        absent = Refusal("not_matched", "no file of one's own is this image", state="missing")
        missing = [Half.refused(url, absent) for url in urls]
        write_fetched(missing, library=library, output=output, matched=list(matched.values()))
        shutil.copyfile(annotations / "annotations.json", output / "annotations.json")
        return
    if not isinstance(source, MangaZeroSource):
        library, limits = workspace, workspace / "limits"
    began = time.monotonic()
    with _routes(source, annotations) as routes:
        records, requests = fetch_all(
            urls,
            download=download,
            contact=contact,
            library=library,
            limits=limits,
            progress=workspace / "progress.json",
            routes=routes,
            chapters=chapters_by_url(iterate_annotations(file)),
        )
    write_fetched(records, library=library, output=output, matched=list(matched.values()))
    shutil.copyfile(annotations / "annotations.json", output / "annotations.json")
    elapsed_s = time.monotonic() - began
    logs = output / "logs"
    logs.mkdir()
    figures = {"urls": len(urls), "requests": requests, "elapsed_s": elapsed_s, "urls_per_s": len(urls) / elapsed_s}
    (logs / "throughput.json").write_text(json.dumps(figures))


def write_fetched(records: list[Half], *, library: Path, output: Path, matched: Sequence[Half] = ()) -> None:
    """``output/halves.parquet`` and, linked from ``library``, the ``objects/`` and ``rejected/`` of ``records``.

    The objects of ``matched`` are there already.
    """
    for state, name in (("ok", "objects"), ("quarantined", "rejected")):
        kept, target = Objects(library / name), Objects(output / name)
        for record in records:
            if record.state == state and record.sha256:
                kept.link_to(target, record.sha256)
    write_halves([*matched, *records], output / "halves.parquet")


def page_urls(raw_pages: Iterable[Any]) -> list[str]:
    """The distinct urls of all pages that parse and have an acceptable path, in order; the others are not fetched."""
    urls: dict[str, None] = {}
    for raw in raw_pages:
        try:
            page = parse_page(raw)
            check_image_path(page.image_path)
        except (ValueError, Refusal):
            continue
        urls |= dict.fromkeys(image.url for image in page.meta.images)
    return list(urls)


def fetch_all(
    urls: list[str],
    *,
    download: DownloadConfig,
    contact: str,
    library: Path,
    limits: Path,
    progress: Path,
    routes: Mapping[str, str],
    chapters: Mapping[str, str],
) -> tuple[list[Half], int]:
    """The fate of each of ``urls``, in order, and how many requests it took; objects and journal are in ``library``.

    ``progress`` is the file a bar is drawn from, ``chapters`` the chapter ids that are known, by url.
    """
    library.mkdir(parents=True, exist_ok=True)
    intake = _Intake(Objects(library / "objects"), Objects(library / "rejected"), download.max_megapixels)
    with Journal(library / "journal.jsonl") as journal:
        journaled = journal.read()
        intake.objects.remove_partial()
        intake.rejected.remove_partial()
        known = {url: journaled[url] for url in urls if url in journaled and intake.still_holds(journaled[url])}
        todo = [url for url in urls if url not in known]
        bar = Progress(progress, "download pages", len(urls), unit="images", start=len(urls) - len(todo))
        began = time.monotonic()

        def note(record: Half) -> None:
            journal.append(record)
            known[record.url] = record
            fresh = len(todo) - (len(urls) - len(known))
            bar.advance(images_per_s=fresh / max(time.monotonic() - began, 1e-3))

        fetcher = ImageFetcher(
            download, contact=contact, version=version("diffsensei-pipeline"), limits=limits, routes=routes
        )
        asyncio.run(_fetch(todo, fetcher, intake, note, chapters, num_connections=download.max_connections))
    return [known[url] for url in urls], fetcher.requests


async def _fetch(
    urls: Iterable[str],
    fetcher: ImageFetcher,
    intake: "_Intake",
    note: Callable[[Half], None],
    chapters: Mapping[str, str],
    *,
    num_connections: int,
) -> None:
    """Fetch ``urls`` over ``num_connections`` at a time and ``note`` the fate of each as it is known."""
    remaining = iter(urls)

    async def connection() -> None:
        for url in remaining:
            note(await intake.take(url, fetcher, chapters.get(url)))

    async with fetcher:
        connections = [asyncio.create_task(connection()) for _ in range(num_connections)]
        try:
            await asyncio.gather(*connections)
        finally:
            for task in connections:
                task.cancel()
            await asyncio.gather(*connections, return_exceptions=True)


@dataclass(frozen=True)
class _Intake:
    """Where fetched bytes go: verified ones to ``objects``, those that fail a check to ``rejected``."""

    objects: Objects
    rejected: Objects
    max_megapixels: float

    def still_holds(self, record: Half) -> bool:
        """Whether a record of an earlier attempt needs no new request."""
        kept = self.objects if record.state == "ok" else self.rejected
        return not record.transient and (not record.sha256 or kept.is_intact(record.sha256))

    async def take(self, url: str, fetcher: ImageFetcher, chapter: str | None) -> Half:
        """Fetch ``url`` and judge what comes."""
        for attempt in range(1, CONTENT_TRIES + 1):
            try:
                data = await fetcher.fetch(url, chapter)
            except Refusal as refusal:
                return Half.refused(url, refusal)
            try:
                return await asyncio.to_thread(self._accept, url, data)
            except Refusal as refusal:
                if attempt == CONTENT_TRIES:
                    return Half.refused(url, refusal, await asyncio.to_thread(self.rejected.write, data))
        raise AssertionError("unreachable: CONTENT_TRIES is positive")

    def _accept(self, url: str, data: bytes) -> Half:
        """Decode everything (in the sandbox), compare with the digest that the file name carries, store durably."""
        height, width = shared_sandbox(Limits()).run(image_size, data, max_megapixels=self.max_megapixels)
        named = NAMED_DIGEST.search(url)
        sha256 = hashlib.sha256(data).hexdigest()
        if named and named[1] != sha256:
            raise Refusal("sha256_mismatch", f"file name says {named[1][:16]}, content is {sha256[:16]}")
        self.objects.write(data)
        return Half(url=url, state="ok", sha256=sha256, width=width, height=height)


def _own_images(
    source: DataSource, download: DownloadConfig, annotations: Path, workspace: Path, output: Path
) -> dict[str, Half]:
    """Records by url of what a person's own files hold."""
    if not isinstance(source, MangaZeroSource) or not source.images:
        return {}
    place = workspace / "matching"
    place.mkdir(parents=True, exist_ok=True)
    records = match_images(source=source, download=download, annotations=annotations, workspace=place, output=output)
    return {record.url: record for record in records}


def _contact(source: DataSource) -> str:
    if not isinstance(source, MangaZeroSource):
        return "synthetic world, loopback only"
    if not source.accept_download:
        raise ValueError(
            "data.source.accept_download is false: pages would be fetched from outside; "
            "if you have the right to fetch them, set data.source.accept_download=true"
        )
    if not source.contact.strip() or not source.contact.isascii() or not source.contact.isprintable():
        raise ValueError(
            f"data.source.contact is {source.contact!r}: the image hosts require an e-mail or url in the User-Agent; "
            "set data.source.contact=you@example.org (printable ASCII)"
        )
    return f"+{source.contact.strip()}"


@contextmanager
def _routes(source: DataSource, annotations: Path) -> Iterator[dict[str, str]]:
    """The synthetic world is served over loopback while it is fetched; nothing else is rerouted."""
    if isinstance(source, MangaZeroSource):
        yield {}
        return
    with serve(annotations / "served") as base_url:
        yield {SYNTHETIC_HOST: base_url}
