"""Fetch the page halves that an annotation file names, once each, and verify them (paper sec. 3.2: MangaZero).

Every url ends in a state and a reason; dead urls are the normal case, so nothing here is fatal but being shut out.
"""

import asyncio
import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from diffsensei.config.schema import DataSource, DownloadConfig, MangaZeroSource
from diffsensei.data.annotation_file import iterate_annotations
from diffsensei.data.download.fetching import ImageFetcher
from diffsensei.data.download.journal import Journal
from diffsensei.data.halves import Half, write_halves
from diffsensei.data.images import decode_image
from diffsensei.data.objects import Objects
from diffsensei.data.page_paths import check_image_path
from diffsensei.data.records import parse_page
from diffsensei.data.refusal import Refusal
from diffsensei.data.synthetic.page import SYNTHETIC_HOST
from diffsensei.data.synthetic.server import serve
from diffsensei.progress import Progress

CONTENT_TRIES = 2
"""Downloads of a url whose bytes are wrong: once more, as hosts serve a wrong image now and then."""
NAMED_DIGEST = re.compile(r"/[^/]*?-([0-9a-f]{64})\.[A-Za-z]+$")


def download_pages(
    *, source: DataSource, download: DownloadConfig, annotations: Path, workspace: Path, output: Path
) -> None:
    """Stage: fetch url1 and url2 of every readable page of ``annotations/annotations.json``.

    Writes ``objects/<aa>/<sha256>`` (verified original bytes), ``rejected/`` (bytes that failed a check),
    ``halves.parquet`` (one row per distinct url) and a copy of the annotations. An interrupted run goes on where
    it stopped. Raises ValueError when downloading was not agreed to, or the host shuts us out.
    """
    contact = _contact(source)
    urls = page_urls(iterate_annotations(annotations / "annotations.json"))
    began = time.monotonic()
    with _routes(source, annotations) as routes:
        records, requests = fetch_all(urls, download=download, contact=contact, workspace=workspace, routes=routes)
    for state, name in (("ok", "objects"), ("quarantined", "rejected")):
        kept, target = Objects(workspace / name), Objects(output / name)
        for record in records:
            if record.state == state and record.sha256:
                kept.link_to(target, record.sha256)
    write_halves(records, output / "halves.parquet")
    shutil.copyfile(annotations / "annotations.json", output / "annotations.json")
    elapsed_s = time.monotonic() - began
    logs = output / "logs"
    logs.mkdir()
    figures = {"urls": len(urls), "requests": requests, "elapsed_s": elapsed_s, "urls_per_s": len(urls) / elapsed_s}
    (logs / "throughput.json").write_text(json.dumps(figures))


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
    urls: list[str], *, download: DownloadConfig, contact: str, workspace: Path, routes: Mapping[str, str]
) -> tuple[list[Half], int]:
    """The fate of each of ``urls``, in order, and how many requests it took; objects and journal in ``workspace``."""
    intake = _Intake(Objects(workspace / "objects"), Objects(workspace / "rejected"), download.max_megapixels)
    with Journal(workspace / "journal.jsonl") as journal:
        known = {url: record for url, record in journal.read().items() if intake.still_holds(record)}
        todo = [url for url in urls if url not in known]
        progress = Progress(
            workspace / "progress.json", "download pages", len(urls), unit="images", start=len(urls) - len(todo)
        )

        def note(record: Half) -> None:
            journal.append(record)
            known[record.url] = record
            progress.advance()

        fetcher = ImageFetcher(download, contact=contact, version=version("diffsensei-pipeline"), routes=routes)
        asyncio.run(_fetch(todo, fetcher, intake, note, num_connections=download.max_connections))
    return [known[url] for url in urls], fetcher.requests


async def _fetch(
    urls: Iterable[str], fetcher: ImageFetcher, intake: "_Intake", note: Callable[[Half], None], *, num_connections: int
) -> None:
    """Fetch ``urls`` over ``num_connections`` at a time and ``note`` the fate of each as it is known."""
    remaining = iter(urls)

    async def connection() -> None:
        for url in remaining:
            note(await intake.take(url, fetcher))

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
        return not record.transient and (record.state != "ok" or self.objects.is_intact(record.sha256))

    async def take(self, url: str, fetcher: ImageFetcher) -> Half:
        """Fetch ``url`` and judge what comes."""
        for attempt in range(1, CONTENT_TRIES + 1):
            try:
                data = await fetcher.fetch(url)
            except Refusal as refusal:
                return Half.refused(url, refusal)
            try:
                return await asyncio.to_thread(self._accept, url, data)
            except Refusal as refusal:
                if attempt == CONTENT_TRIES:
                    return Half.refused(url, refusal, await asyncio.to_thread(self.rejected.write, data))
        raise AssertionError("unreachable: CONTENT_TRIES is positive")

    def _accept(self, url: str, data: bytes) -> Half:
        """Decode everything, compare with the digest that the file name carries, store durably."""
        image = decode_image(data, max_megapixels=self.max_megapixels)
        named = NAMED_DIGEST.search(url)
        sha256 = hashlib.sha256(data).hexdigest()
        if named and named[1] != sha256:
            raise Refusal("sha256_mismatch", f"file name says {named[1][:16]}, content is {sha256[:16]}")
        self.objects.write(data)
        height, width = image.gray.shape
        return Half(url=url, state="ok", sha256=sha256, width=width, height=height)


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
