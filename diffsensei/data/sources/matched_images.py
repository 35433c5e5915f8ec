"""The stage that matches one's own files to MangaZero annotations, before anything is downloaded."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from diffsensei.config.schema import DownloadConfig, MangaZeroSource
from diffsensei.data.annotation_file import read_annotations
from diffsensei.data.halves import Half, write_halves
from diffsensei.data.images import Gray, decode_image, encode_png
from diffsensei.data.objects import Objects
from diffsensei.data.page_paths import check_image_path
from diffsensei.data.records import PageAnnotation, TwoHalves, parse_page
from diffsensei.data.refusal import Refusal
from diffsensei.data.sources.files import PDF_DPI, open_files
from diffsensei.data.sources.hash_list import ImageHash, hash_text, known_hashes, read_hashes
from diffsensei.data.sources.images import bring, link_objects
from diffsensei.data.sources.matching import Match, Piece, Wanted, match
from diffsensei.data.validation.stitch import KNOWN_RATIOS, RATIO_TOLERANCE

CATEGORIES = ("matched", "ambiguous", "missing")


def match_images(
    *, source: MangaZeroSource, download: DownloadConfig, annotations: Path, workspace: Path, output: Path
) -> list[Half]:
    """Match ``source.images`` to the urls of ``annotations/annotations.json``; the records of the matched ones.

    Writes ``objects/`` and ``halves.parquet`` (matched urls only), ``matching.parquet`` (every url: state, method,
    file, candidates, evidence) and ``matching.json`` (counts, files that fit nothing or were refused). Half a spread is
    cut at the fold and stored as PNG. An interrupted run does not read its files again. Raises ValueError (one line)
    for a path or a hash list that cannot be read.
    """
    raw_pages = read_annotations(annotations / "annotations.json")
    listed = read_hashes(Path(source.hash_list)) if source.hash_list else {}
    wanted = wanted_images(raw_pages, listed)
    skipped: Counter[str] = Counter()
    files = _read_files([Path(path) for path in source.images], download, workspace, skipped)
    objects = Objects(workspace / "objects")
    pieces = list(_pieces(files, _spread_widths(wanted), objects, download))
    verdicts = match([item.wanted for item in wanted], pieces)
    records = [_record(verdict, objects, download) for verdict in verdicts if verdict.state == "matched"]
    link_objects(records, workspace, output)
    write_halves(records, output / "halves.parquet")
    pd.DataFrame([_row(verdict) for verdict in verdicts], columns=COLUMNS).to_parquet(
        output / "matching.parquet", index=False
    )
    used = {verdict.piece.file for verdict in verdicts if verdict.piece is not None}
    states: Counter[str] = Counter(verdict.state for verdict in verdicts)
    summary = {
        "urls": len(verdicts),
        **{state: states[state] for state in CATEGORIES},
        "by_method": dict(sorted(Counter(v.method for v in verdicts if v.method and v.state == "matched").items())),
        "files": len(files),
        "files_unused": sum(half.state == "ok" and half.url.removeprefix("file:") not in used for half in files),
        "files_refused": dict(sorted(Counter(half.reason for half in files if half.state != "ok").items())),
        "files_skipped": dict(sorted(skipped.items())),
    }
    (output / "matching.json").write_text(json.dumps(summary, indent=1))
    return records


@dataclass(frozen=True)
class _HalfWanted:
    """A url, and the width of both halves of its page together."""

    wanted: Wanted
    widths: tuple[int, int]


def wanted_images(raw_pages: Sequence[Mapping[str, Any]], listed: Mapping[str, ImageHash]) -> list[_HalfWanted]:
    """The distinct urls of the double pages that parse and have an acceptable path, in order."""
    known = known_hashes(raw_pages, listed)
    found: dict[str, _HalfWanted] = {}
    for raw in raw_pages:
        try:
            page = parse_page(raw)
            check_image_path(page.image_path)
        except (ValueError, Refusal):
            continue
        if not isinstance(page.meta, TwoHalves):
            continue
        meta = page.meta
        edges = _lowest_edges(page, meta.width1)
        for is_left, (url, width), edge in zip((True, False), meta.images, edges, strict=True):
            wanted = Wanted(url, page.image_path, width, edge, is_left, known.get(url, ImageHash()))
            found.setdefault(url, _HalfWanted(wanted, (meta.width1, meta.width2)))
    return list(found.values())


def _lowest_edges(page: PageAnnotation, fold: int) -> tuple[float, float]:
    """The lowest edge of the panels that lie wholly left, and wholly right, of the fold; 0 where there is none."""
    left = [frame.bbox[3] for frame in page.frames if frame.bbox[2] <= fold]
    right = [frame.bbox[3] for frame in page.frames if frame.bbox[0] >= fold]
    return max(left, default=0.0), max(right, default=0.0)


def _read_files(paths: Sequence[Path], download: DownloadConfig, workspace: Path, skipped: Counter[str]) -> list[Half]:
    """What became of every image of ``paths``; objects in ``workspace``."""
    with open_files(paths, PDF_DPI, skipped) as offered:
        wanted = {f"file:{image.name}": None for image in offered}
    with open_files(paths, PDF_DPI, Counter()) as offered:
        fates = bring(offered, wanted, download, workspace)
    return [fates[url] for url in wanted if url in fates]


def _spread_widths(wanted: Iterable[_HalfWanted]) -> set[tuple[int, int]]:
    return {item.widths for item in wanted if min(item.widths) > 0}


def _pieces(
    files: Iterable[Half], spreads: set[tuple[int, int]], objects: Objects, download: DownloadConfig
) -> Iterator[Piece]:
    """Every sound file as a whole, and one that is wide enough for a spread as its halves, for each pair of widths."""
    for half in files:
        if half.state != "ok":
            continue
        gray = decode_image(objects.path(half.sha256).read_bytes(), max_megapixels=download.max_megapixels).gray
        name = half.url.removeprefix("file:")
        yield Piece(name, half.sha256, hash_text(gray), half.width, half.height)
        for fold in sorted(_folds(half.width, spreads)) if half.width > half.height else ():
            for start, stop in ((0, fold), (fold, half.width)):
                cut = gray[:, start:stop]
                yield Piece(name, half.sha256, hash_text(cut), stop - start, half.height, start, stop)


def _folds(width: int, spreads: set[tuple[int, int]]) -> set[int]:
    """The columns where a spread of ``width`` pixels folds, for each pair of half widths that it may be made of."""
    ratios = (1.0, *KNOWN_RATIOS)
    return {
        round(left * width / (left + right))
        for left, right in spreads
        if any(abs(width / (left + right) / ratio - 1) <= RATIO_TOLERANCE for ratio in ratios)
    }


def _record(verdict: Match, objects: Objects, download: DownloadConfig) -> Half:
    """The record of a matched url; what it needs of a spread is cut out and stored."""
    piece = verdict.piece
    assert piece is not None
    sha256 = piece.sha256
    if not piece.is_whole:
        page: Gray = decode_image(objects.path(sha256).read_bytes(), max_megapixels=download.max_megapixels).gray
        sha256 = objects.write(encode_png(page[:, piece.start : piece.stop]))
    return Half(url=verdict.url, state="ok", sha256=sha256, width=piece.width, height=piece.height)


COLUMNS = ["url", "state", "method", "file", "start", "stop", "candidates", "evidence"]


def _row(verdict: Match) -> dict[str, Any]:
    row = asdict(verdict)
    piece = row.pop("piece") or {"file": "", "start": 0, "stop": 0}
    row["method"] = verdict.method or ""
    return row | {name: piece[name] for name in ("file", "start", "stop")}
