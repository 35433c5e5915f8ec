"""Panels, characters and dialogs of pages without any, found by Magi (paper sec. 3.2).

Pages are read in shards that are committed one by one. A shard always holds the same pages and its batches the same
neighbours, so a run that was killed gives what an uninterrupted one gives.
"""

import hashlib
import json
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from diffsensei.config.base import canonical_json
from diffsensei.config.schema import DownloadConfig
from diffsensei.data.annotation.page_images import PageImages
from diffsensei.data.annotation.shards import Shards
from diffsensei.data.annotation_file import read_annotations, write_annotations
from diffsensei.data.images import Gray
from diffsensei.data.page_paths import check_image_path
from diffsensei.data.records import PageAnnotation, parse_page
from diffsensei.data.refusal import Refusal
from diffsensei.devices import own_device
from diffsensei.foundations.loading import load_magi
from diffsensei.foundations.locations import foundation_digest
from diffsensei.magi.annotation import AnnotatedPage, annotate_pages
from diffsensei.magi.magi import Magi
from diffsensei.magi.reading_order import Reading
from diffsensei.magi.suppression import Thresholds
from diffsensei.progress import Progress

PAGES_PER_SHARD = 32
"""Pages decoded together: some hundred megabytes at the size of a scan."""

_log = logging.getLogger(__name__)


def detect_panels(
    *,
    detector: str,
    download: DownloadConfig,
    download_dir: Path,
    batch_size: int,
    num_threads: int,
    workspace: Path,
    output: Path,
) -> None:
    """Stage: give every page without frames those that Magi finds; captions stay empty.

    ``detector`` is Magi's hub id or folder, ``batch_size`` pages are read at once. Writes ``annotations.json`` and
    ``detection.json`` (detector, thresholds, counts). Pages with frames, pages that do not parse and pages whose image
    is missing or broken stay as they are. Raises ValueError (one line) when the detector cannot be loaded.
    """
    raw_pages = read_annotations(download_dir / "annotations.json")
    todo = _without_frames(raw_pages)
    thresholds, reading = Thresholds(), Reading()
    with _naming_the_field():
        digest = foundation_digest([detector])
    provenance = {
        "detector": detector,
        "detector_sha256": digest,
        "thresholds": asdict(thresholds),
        "reading": asdict(reading),
    }
    shards = Shards(workspace / f"detected-{_work_digest(provenance, download_dir / 'annotations.json')}")
    entries = sorted(todo)
    parts = [entries[start : start + PAGES_PER_SHARD] for start in range(0, len(entries), PAGES_PER_SHARD)]
    finished = {number: value for number in range(len(parts)) if (value := shards.read(number)) is not None}
    missing = [number for number in range(len(parts)) if number not in finished]
    done = sum(len(parts[number]) for number in finished)
    progress = Progress(workspace / "progress.json", "detect panels", len(entries), unit="pages", start=done)
    if missing:
        torch.set_num_threads(num_threads)
        with _naming_the_field():
            magi = load_magi(detector).to(own_device())
        images = PageImages.of(download_dir, download.max_megapixels)
        pages_of = [[todo[entry] for entry in parts[number]] for number in missing]
        began, fresh = time.monotonic(), 0
        for number, decoded in zip(missing, _decoded_ahead(images, pages_of, num_threads), strict=True):
            finished[number] = _detect(magi, decoded, thresholds, reading, batch_size)
            shards.write(number, finished[number])
            fresh += len(decoded)
            progress.advance(len(decoded), pages_per_s=round(fresh / (time.monotonic() - began), 2))
    found = [page for number in range(len(parts)) for page in finished[number]]
    _write(raw_pages, dict(zip(entries, found, strict=True)), output)
    counts = _counts(raw_pages, found)
    (output / "detection.json").write_text(json.dumps(provenance | {"counts": counts}, indent=1))
    _log.info("detected panels: %s", counts)


def _without_frames(raw_pages: Sequence[Mapping[str, Any]]) -> dict[int, PageAnnotation]:
    """The pages to read, by entry; validation names what is wrong with the others."""
    pages = {}
    for entry, raw in enumerate(raw_pages):
        try:
            page = parse_page(raw)
            check_image_path(page.image_path)
        except (ValueError, Refusal):
            continue
        if not page.frames:
            pages[entry] = page
    return pages


def _work_digest(provenance: Mapping[str, Any], annotations: Path) -> str:
    """16 hex digits: shards of other pages, another detector or other thresholds are not taken for these."""
    content = canonical_json(provenance).encode() + annotations.read_bytes()
    return hashlib.sha256(content).hexdigest()[:16]


@contextmanager
def _naming_the_field() -> Iterator[None]:
    """A detector that cannot be had is an error of the configuration, and says which field to set."""
    try:
        yield
    except ValueError as error:
        raise ValueError(
            "data.annotation.detector: expected Magi v1 as a folder (config.json, model.safetensors) or as a hub id in "
            f"the hub's cache; {error}; set data.annotation.detector=<folder or hub id>"
        ) from error


_Decoded = list[Gray | Refusal]


def _decoded_ahead(
    images: PageImages, parts: Sequence[Sequence[PageAnnotation]], num_threads: int
) -> Iterator[_Decoded]:
    """Pixels or refusal of each page, part by part; while one part is in use, the next is decoded."""

    def read(page: PageAnnotation) -> Gray | Refusal:
        try:
            return images.read(page)
        except Refusal as refusal:
            return refusal

    with ThreadPoolExecutor(num_threads) as threads:
        ahead: list[Future[Gray | Refusal]] = [threads.submit(read, page) for page in parts[0]] if parts else []
        for number in range(len(parts)):
            now = ahead
            ahead = [threads.submit(read, page) for page in parts[number + 1]] if number + 1 < len(parts) else []
            yield [future.result() for future in now]


def _detect(
    magi: Magi, decoded: _Decoded, thresholds: Thresholds, reading: Reading, batch_size: int
) -> list[dict[str, Any]]:
    """One JSON object a page: its frames and what fell outside them, or why there are none."""
    images = [page for page in decoded if not isinstance(page, Refusal)]
    read = iter(annotate_pages(magi, images, thresholds=thresholds, reading=reading, batch_size=batch_size))
    return [
        {"reason": page.reason} if isinstance(page, Refusal) else _described(next(read), page.shape) for page in decoded
    ]


def _described(page: AnnotatedPage, shape: tuple[int, ...]) -> dict[str, Any]:
    whole = (0.0, 0.0, float(shape[1]), float(shape[0]))
    return {
        "frames": [frame.model_dump(mode="json") for frame in page.frames],
        "outside": page.outside,
        "whole": len(page.frames) == 1 and page.frames[0].bbox == whole,
    }


def _write(raw_pages: Sequence[Mapping[str, Any]], found: Mapping[int, Mapping[str, Any]], output: Path) -> None:
    pages = [
        {**raw, "frames": found[entry]["frames"]} if "frames" in found.get(entry, {}) else raw
        for entry, raw in enumerate(raw_pages)
    ]
    write_annotations(pages, output / "annotations.json")


def _counts(raw_pages: Sequence[Any], pages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    frames = [frame for page in pages for frame in page.get("frames", ())]
    return {
        "pages": len(raw_pages),
        "pages_without_frames": len(pages),
        "pages_detected": sum("frames" in page for page in pages),
        "pages_not_read": dict(sorted(Counter(page["reason"] for page in pages if "reason" in page).items())),
        "pages_that_are_one_frame": sum(page.get("whole", False) for page in pages),
        "panels": len(frames),
        "characters": sum(len(frame["characters"]) for frame in frames),
        "dialogs": sum(len(frame["dialogs"]) for frame in frames),
        "boxes_outside_panels": sum(page.get("outside", 0) for page in pages),
    }
