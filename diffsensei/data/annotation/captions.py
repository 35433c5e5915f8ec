"""Captions for panels without one, from a vision-language model that is shown their crops (paper sec. 3.2)."""

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import SecretStr

from diffsensei.config.base import canonical_json
from diffsensei.config.schema import CaptionerConfig, DownloadConfig
from diffsensei.data.annotation.caption_journal import CaptionJournal
from diffsensei.data.annotation.captioner import Answer, Captioner
from diffsensei.data.annotation.chat_server import ServerCaptioner
from diffsensei.data.annotation.llava import LlavaCaptioner, naming_the_model
from diffsensei.data.annotation.page_images import PageImages
from diffsensei.data.annotation_file import read_annotations, write_annotations
from diffsensei.data.images import Gray
from diffsensei.data.page_paths import check_image_path, page_id_of
from diffsensei.data.records import Bbox, PageAnnotation, parse_page
from diffsensei.data.refusal import Refusal
from diffsensei.foundations.locations import foundation_digest
from diffsensei.progress import Progress

PAGES_AT_ONCE = 32
SCHEMA = pa.schema(
    [
        ("page_id", pa.string()),
        ("panel_index", pa.int32()),
        ("caption", pa.string()),
        ("model", pa.string()),
        ("prompt_sha256", pa.string()),
        ("tokens", pa.int32()),
        ("truncated", pa.bool_()),
        ("reason", pa.string()),
    ]
)
"""``captions.parquet``: one row for each panel that had no caption; ``reason`` says why it still has none."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Panel:
    """A panel to caption: its page (place in the file), its place in the page's frames, what to show and its key."""

    entry: int
    index: int
    crop: Gray | None
    key: str
    reason: str = ""


def caption_panels(
    *,
    captioner: CaptionerConfig,
    download: DownloadConfig,
    annotations: Path,
    download_dir: Path,
    num_threads: int,
    workspace: Path,
    output: Path,
    api_key: SecretStr | None = None,
) -> None:
    """Stage: caption every panel of ``annotations/annotations.json`` whose caption is empty.

    Images come from ``download_dir``. Writes ``annotations.json`` and ``captions.parquet`` (`SCHEMA`). A panel that
    the model refuses, or whose page cannot be read, keeps its empty caption, with the reason in the table. The same
    crop is asked about once, also after a crash. Raises ValueError (one line) when the model cannot be loaded, or its
    server lets nobody in or falls silent.
    """
    raw_pages = read_annotations(annotations / "annotations.json")
    todo = _without_captions(raw_pages)
    total = sum(len(indices) for _, indices in todo.values())
    progress = Progress(workspace / "progress.json", "caption panels", total, unit="panels")
    images = PageImages.of(download_dir, download.max_megapixels)
    asked = _Question(captioner)
    began = time.monotonic()
    rows: list[dict[str, Any]] = []
    seconds: list[float] = []
    torch.set_num_threads(num_threads)
    with ExitStack() as stack:
        journal = stack.enter_context(CaptionJournal(workspace / "captions.jsonl"))
        threads = stack.enter_context(ThreadPoolExecutor(num_threads))
        answers = journal.read()
        lazily = _Lazily(captioner, api_key, stack)
        grouped: set[str] = set()
        for panels in _panels(todo, images, asked, threads):
            for keys, answered in _ask(panels, answers, grouped, lazily):
                fresh = {key: answer for key, answer in zip(keys, answered, strict=True) if key not in answers}
                journal.append(fresh)
                answers |= fresh
            for panel in panels:
                answer = answers[panel.key] if not panel.reason else Answer(reason=panel.reason)
                rows.append(_row(raw_pages, panel, answer, asked))
                seconds.append(answer.seconds)
            progress.advance(len(panels), panels_per_s=round(len(rows) / (time.monotonic() - began), 3))
    _write(raw_pages, rows, seconds, output)
    reasons = dict(Counter(row["reason"] for row in rows if row["reason"]))
    _log.info("captioned %d of %d panels; without: %s", total - sum(reasons.values()), total, reasons or "none")


class _Question:
    """All of a question but the crop."""

    def __init__(self, captioner: CaptionerConfig) -> None:
        self.model = captioner.model
        self.prompt_sha256 = hashlib.sha256(captioner.prompt.encode()).hexdigest()
        self.max_image_side = captioner.max_image_side
        self._asked = {
            "backend": captioner.backend,
            "model": _model_identity(captioner),
            "prompt": captioner.prompt,
            "max_new_tokens": captioner.max_new_tokens,
            "max_image_side": captioner.max_image_side,
        }

    def key(self, crop: Gray) -> str:
        """sha256 (64 hex digits) of the question about ``crop`` (H, W)."""
        digest = hashlib.sha256(canonical_json({**self._asked, "shape": list(crop.shape)}).encode())
        digest.update(np.ascontiguousarray(crop).tobytes())
        return digest.hexdigest()

    def shown(self, crop: Gray) -> Gray:
        """``crop`` no longer than ``max_image_side``."""
        shrink = self.max_image_side / max(crop.shape)
        if shrink >= 1:
            return crop
        size = max(1, round(crop.shape[1] * shrink)), max(1, round(crop.shape[0] * shrink))
        return np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


class _Lazily:
    """The captioner, loaded when something is asked for the first time: a resumed run may have no question left."""

    def __init__(self, config: CaptionerConfig, api_key: SecretStr | None, stack: ExitStack) -> None:
        self._config, self._api_key, self._stack = config, api_key, stack
        self._loaded: Captioner | None = None
        self.batch_size = 1 if config.backend == "openai" else config.batch_size

    def get(self) -> Captioner:
        if self._loaded is None:
            if self._config.backend == "openai":
                self._loaded = self._stack.enter_context(ServerCaptioner(self._config, self._api_key))
            else:
                self._loaded = LlavaCaptioner.load(self._config)
        return self._loaded


def _model_identity(captioner: CaptionerConfig) -> str:
    """The weights' content or hub id; of a server only where it is and what it calls the model."""
    if captioner.backend == "openai":
        return f"{captioner.server} {captioner.model}"
    with naming_the_model():
        return foundation_digest([captioner.model])


def _without_captions(raw_pages: Sequence[Mapping[str, Any]]) -> dict[int, tuple[PageAnnotation, list[int]]]:
    """Pages by entry with the places of their frames without caption; validation names what is wrong with others."""
    todo = {}
    for entry, raw in enumerate(raw_pages):
        try:
            page = parse_page(raw)
            check_image_path(page.image_path)
        except (ValueError, Refusal):
            continue
        indices = [index for index, frame in enumerate(page.frames) if not frame.caption.strip()]
        if indices:
            todo[entry] = page, indices
    return todo


def _panels(
    todo: Mapping[int, tuple[PageAnnotation, list[int]]],
    images: PageImages,
    asked: _Question,
    threads: ThreadPoolExecutor,
) -> Iterator[list[_Panel]]:
    """The panels of some pages at a time, in the file's order."""

    def cut(entry: int) -> list[_Panel]:
        page, indices = todo[entry]
        try:
            gray = images.read(page)
        except Refusal as refusal:
            return [_Panel(entry, index, None, "", refusal.reason) for index in indices]
        panels = []
        for index in indices:
            crop = crop_panel(gray, page.frames[index].bbox)
            if crop is None:
                panels.append(_Panel(entry, index, None, "", "empty_crop"))
            else:
                panels.append(_Panel(entry, index, asked.shown(crop), asked.key(crop)))
        return panels

    entries = sorted(todo)
    for start in range(0, len(entries), PAGES_AT_ONCE):
        yield [panel for panels in threads.map(cut, entries[start : start + PAGES_AT_ONCE]) for panel in panels]


def crop_panel(page: Gray, bbox: Bbox) -> Gray | None:
    """The pixels of ``page`` (H, W) that ``bbox`` touches, None where it touches none or is not finite."""
    if not np.isfinite(bbox).all():
        return None
    height, width = page.shape
    left, top = max(int(np.floor(bbox[0])), 0), max(int(np.floor(bbox[1])), 0)
    right, bottom = min(int(np.ceil(bbox[2])), width), min(int(np.ceil(bbox[3])), height)
    return page[top:bottom, left:right] if left < right and top < bottom else None


def _ask(
    panels: Sequence[_Panel], answers: Mapping[str, Answer], grouped: set[str], captioner: _Lazily
) -> Iterator[tuple[list[str], list[Answer]]]:
    """Keys and answers, batch by batch, of the batches that hold an unanswered question.

    Who shares a batch does not depend on what is answered already, so that rounding is the same after a crash.
    ``grouped`` holds every key that has had its batch.
    """
    crops: dict[str, Gray] = {}
    for panel in panels:
        if panel.crop is not None and panel.key not in grouped:
            crops[panel.key] = panel.crop
    grouped |= crops.keys()
    keys = list(crops)
    size = captioner.batch_size
    batches = [keys[start : start + size] for start in range(0, len(keys), size)]
    open_ones = [batch for batch in batches if not all(key in answers for key in batch)]
    if not open_ones:
        return
    for number, answered in captioner.get().answer([[crops[key] for key in batch] for batch in open_ones]):
        yield open_ones[number], answered


def _row(raw_pages: Sequence[Mapping[str, Any]], panel: _Panel, answer: Answer, asked: _Question) -> dict[str, Any]:
    return {
        "entry": panel.entry,
        "page_id": page_id_of(raw_pages[panel.entry]["image_path"]),
        "panel_index": panel.index,
        "caption": answer.caption,
        "model": asked.model,
        "prompt_sha256": asked.prompt_sha256,
        "tokens": answer.tokens,
        "truncated": answer.truncated,
        "reason": answer.reason,
    }


def _write(
    raw_pages: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]], seconds: Sequence[float], output: Path
) -> None:
    captions: dict[int, dict[int, str]] = {}
    for row in rows:
        captions.setdefault(row["entry"], {})[row["panel_index"]] = row["caption"]
    pages = [_captioned(raw, captions.get(entry, {})) for entry, raw in enumerate(raw_pages)]
    write_annotations(pages, output / "annotations.json")
    columns = [{name: row[name] for name in SCHEMA.names} for row in rows]
    pq.write_table(pa.Table.from_pylist(columns, schema=SCHEMA), output / "captions.parquet")
    # Time is not a function of the inputs: it lies with the logs, row by row beside the captions.
    (output / "logs").mkdir()
    pd.DataFrame({"seconds": list(seconds)}).to_parquet(output / "logs" / "seconds.parquet", index=False)


def _captioned(raw: Mapping[str, Any], captions: Mapping[int, str]) -> Mapping[str, Any]:
    if not captions:
        return raw
    frames = [
        {**frame, "caption": captions[index]} if captions.get(index) else frame
        for index, frame in enumerate(raw["frames"])
    ]
    return {**raw, "frames": frames}
