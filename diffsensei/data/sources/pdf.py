"""PDFs as pages: a scan keeps its own pixels, anything else is drawn; all of it in a limited process of its own."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from diffsensei.data.images import MAX_SIDE, encode_png
from diffsensei.data.refusal import Refusal
from diffsensei.data.sources import pdf_renderer
from diffsensei.data.sources.offered import Offered

MAX_PAGES = 5_000
TIMEOUT_S = 90.0
MAX_PAGE_MEGAPIXELS = 64.0
"""A page of more is not drawn; what `DownloadConfig.max_megapixels` allows is judged again when it is decoded."""


def offer_pdf(path: Path, dpi: int) -> Iterator[Offered]:
    """The pages of a PDF, called ``0001.png`` and so on, drawn at ``dpi`` where they are more than one scan.

    Raises ValueError when the file cannot be opened as a PDF, is encrypted, or has more than `MAX_PAGES` pages.
    """
    try:
        header, _ = run_renderer(path, "count", max_output=4096)
    except Refusal as refusal:
        raise ValueError(f"{path} cannot be read as a PDF ({refusal.reason}: {refusal.evidence})") from None
    count = int(header["pages"])
    if not 0 < count <= MAX_PAGES:
        raise ValueError(f"{path} has {count} pages; expected 1 to {MAX_PAGES}, split it")
    for index in range(count):
        yield Offered(f"{index + 1:04d}.png", lambda limit, index=index: _page(path, index, dpi, limit))  # type: ignore[misc]


def _page(path: Path, index: int, dpi: int, limit: int) -> bytes:
    """An image file of the page: the scan's JPEG, or our PNG. Raises `Refusal`."""
    max_pixels = int(MAX_PAGE_MEGAPIXELS * 1e6)
    arguments = (str(index), str(dpi), str(max_pixels), str(MAX_SIDE))
    header, body = run_renderer(path, *arguments, max_output=max(max_pixels, limit) + 4096)
    if header["kind"] == "gray":
        height, width = int(header["height"]), int(header["width"])
        if height * width != len(body) or not body:
            raise Refusal("broken_pdf", f"page {index + 1}: {len(body)} bytes for {width}x{height} pixels")
        body = encode_png(np.frombuffer(body, dtype=np.uint8).reshape(height, width))
    if len(body) > limit:
        raise Refusal("too_large", f"page {index + 1} exceeds {limit} bytes")
    return body


def run_renderer(path: Path, *arguments: str, max_output: int) -> tuple[dict[str, Any], bytes]:
    """Header and body that `pdf_renderer` answers with, from a process limited in memory, processor time and time.

    Raises `Refusal`: what the renderer refused, or ``pdf_limit`` when it broke off, ``pdf_timeout`` when it took too
    long.
    """
    command = [sys.executable, "-I", pdf_renderer.__file__, str(path.resolve()), *arguments]
    # Files, not pipes: the limit on file size then bounds what the process can make us hold.
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as complaint:
        try:
            code = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=answer, stderr=complaint, timeout=TIMEOUT_S, env={}
            ).returncode
        except subprocess.TimeoutExpired:
            raise Refusal("pdf_timeout", f"{path.name}: no answer within {TIMEOUT_S:g} s") from None
        if code != 0 or answer.seek(0, os.SEEK_END) > max_output:
            complaint.seek(0)
            last = complaint.read(100_000).decode(errors="replace").strip().rpartition("\n")[2][:120]
            raise Refusal("pdf_limit", f"{path.name}: the renderer ended with {code} {last}".strip())
        answer.seek(0)
        line, _, body = answer.read().partition(b"\n")
    header = json.loads(line)
    if "reason" in header:
        raise Refusal(header["reason"], f"{path.name}: {header['evidence']}")
    return header, body
