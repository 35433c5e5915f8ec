"""Manga109 and Manga109-s as published, in our records (paper Table 2; which pages of it were used is unpublished).

A frame becomes a panel, a body a character of type 0 where its face shows, a text a dialog. Captions are empty until a
captioner writes them.
"""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffsensei.config.schema import Manga109Source
from diffsensei.data.records import (
    CharacterAnnotation,
    DialogAnnotation,
    FrameAnnotation,
    OneFile,
    PageAnnotation,
)
from diffsensei.data.refusal import Refusal
from diffsensei.data.sources.folders import read_inside
from diffsensei.data.sources.manga109_xml import Marked, MarkedBook, MarkedPage, read_book
from diffsensei.data.sources.offered import Offered, acceptable_name
from diffsensei.geometry import area, intersection
from diffsensei.magi.reading_order import Reading, order_panels

RULE = "sha256-rank/1"
"""How the pages of a title are chosen; raise its number when the same files would give other pages."""
MIN_FRAMES = 3
"""Frames that a page needs to be chosen where only some are."""
MIN_SHARE = 0.5
"""Share of a box's area inside a frame from which on it belongs there without question."""
MIN_FACE_SHARE = 0.9
"""Share of a face's area inside a body from which on it is that body's face."""
MAX_LIST_BYTES = 2**20
MAX_IMAGE_BYTES = 64 * 2**20
NOTICE = "Chosen by a rule of ours: the paper publishes no list of its Manga109 pages."
TERMS = (
    "Manga109: academic use only, no passing on to third parties, the author is named where a page is shown. "
    "Manga109-s: companies may use results; the images must not be passed on."
)


def collect_manga109(source: Manga109Source, output: Path) -> None:
    """Write ``annotations.json``, ``licence.json`` (terms, credit lines) and ``selection.json`` (the chosen pages).

    Raises ValueError (one line) when the terms were not accepted, a title is unknown or a file is not as published.
    """
    if not source.accept_terms:
        raise ValueError(
            "accept_terms of the Manga109 source is false: Manga109 may only be used by who agreed to its terms "
            "(academic use, not passed on); if you did, set accept_terms=true in it"
        )
    root = Path(source.root)
    titles = _titles(root, source.books)
    authors = _authors(root)
    pages: list[dict[str, Any]] = []
    selected: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    for title in titles:
        book = read_book(root, title)
        for marked in choose_pages(title, book, source.pages_per_book):
            page = convert_page(title, marked, book.characters, counts)
            pages.append(page.model_dump(mode="json"))
            selected.append({"image_path": page.image_path, "image_sha256": _sha256(root, page.image_path)})
    if not pages:
        raise ValueError(f"no page of {root} has {MIN_FRAMES if source.pages_per_book else 1} frames; nothing to read")
    selection = {
        "rule": RULE if source.pages_per_book else "all pages with a frame",
        "pages_per_book": source.pages_per_book,
        "min_frames": MIN_FRAMES if source.pages_per_book else 1,
        "is_papers_list": False,
        "notice": NOTICE,
        "pages": selected,
        "counts": dict(sorted(counts.items())),
    }
    credits = {title: f"{title}, (c) {authors[title]}" for title in titles if title in authors}
    licence = {"name": "Manga109", "terms": TERMS, "accepted": True, "credits": credits, "titles": titles}
    (output / "annotations.json").write_text(json.dumps(pages))
    (output / "selection.json").write_text(json.dumps(selection, indent=1))
    (output / "licence.json").write_text(json.dumps(licence, indent=1, ensure_ascii=False))


def open_images(root: Path, files: Sequence[str]) -> Iterator[Offered]:
    """The images of ``files``, as ``OneFile`` names them: ``<title>/<index>.jpg``."""
    for name in files:
        yield Offered(name, lambda limit, name=name: read_inside(root / "images", name, limit))  # type: ignore[misc]


def choose_pages(title: str, book: MarkedBook, pages_per_book: int | None) -> list[MarkedPage]:
    """All pages with a frame; or the first of those with `MIN_FRAMES` by the hash of their name, in reading order."""
    if pages_per_book is None:
        return [page for page in book.pages if page.frames]
    ranked = sorted(
        (page for page in book.pages if len(page.frames) >= MIN_FRAMES),
        key=lambda page: hashlib.sha256(f"{RULE}:{file_of(title, page)}".encode()).hexdigest(),
    )
    return sorted(ranked[:pages_per_book], key=lambda page: page.index)


def file_of(title: str, page: MarkedPage) -> str:
    """The page's image below ``images/``, and its path as a record."""
    return f"{title}/{page.index:03d}.jpg"


def convert_page(title: str, page: MarkedPage, known: frozenset[str], counts: Counter[str]) -> PageAnnotation:
    """``page`` as our record, panels in reading order; ``counts`` grows by what did not fit.

    Counted: ``texts in the gutter`` (in no frame, left out), ``boxes without a frame`` (on a page without any),
    ``boxes by nearest frame`` and ``undeclared characters`` (kept).
    """
    frames = _boxes(page.frames)
    order = order_panels(frames, Reading(), fold=page.width / 2)
    characters: list[list[CharacterAnnotation]] = [[] for _ in frames]
    dialogs: list[list[DialogAnnotation]] = [[] for _ in frames]
    for body, (place, share) in zip(page.bodies, _places(_boxes(page.bodies), frames), strict=True):
        counts["undeclared characters"] += body.character not in known
        counts["boxes by nearest frame"] += place >= 0 and share < MIN_SHARE
        counts["boxes without a frame"] += place < 0
        if place >= 0:
            face_type = 0 if _shows_face(body, page.faces) else 1
            characters[place].append(CharacterAnnotation(id=body.character, bbox=body.box, type=face_type))
    for text, (place, share) in zip(page.texts, _places(_boxes(page.texts), frames), strict=True):
        counts["texts in the gutter"] += place >= 0 and share == 0
        counts["boxes by nearest frame"] += 0 < share < MIN_SHARE
        counts["boxes without a frame"] += place < 0
        if share > 0:
            dialogs[place].append(DialogAnnotation(bbox=text.box))
    panels = tuple(
        FrameAnnotation(bbox=page.frames[i].box, caption="", characters=tuple(characters[i]), dialogs=tuple(dialogs[i]))
        for i in order
    )
    name = file_of(title, page)
    return PageAnnotation(image_path=name, frames=panels, meta=OneFile(file=name, width=page.width, height=page.height))


def _places(boxes: NDArray[np.float64], frames: NDArray[np.float64]) -> list[tuple[int, float]]:
    """For each box its frame and the share of its area in there: the one with most of it, from `MIN_SHARE` on.

    Below that, the frame with the nearest centre, with the share that the best one has. (-1, 0) without frames.
    """
    if not len(frames):
        return [(-1, 0.0)] * len(boxes)
    common = intersection(boxes[:, None], frames[None])
    shares = common / np.maximum(area(boxes), 1.0)[:, None]
    distances = np.linalg.norm(_centres(boxes)[:, None] - _centres(frames)[None], axis=-1)
    best = shares.max(axis=1, initial=0.0)
    places = np.where(best >= MIN_SHARE, shares.argmax(axis=1), distances.argmin(axis=1))
    return list(zip(places.tolist(), best.tolist(), strict=True))


def _shows_face(body: Marked, faces: Sequence[Marked]) -> bool:
    own = _boxes([face for face in faces if face.character == body.character])
    inside = intersection(own, np.array(body.box)) / np.maximum(area(own), 1.0)
    return bool((inside >= MIN_FACE_SHARE).any())


def _boxes(marked: Sequence[Marked]) -> NDArray[np.float64]:
    return np.array([item.box for item in marked], dtype=np.float64).reshape(-1, 4)


def _centres(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((boxes[:, :2] + boxes[:, 2:]) / 2)


def _titles(root: Path, wanted: Sequence[str]) -> list[str]:
    try:
        text = read_inside(root, "books.txt", MAX_LIST_BYTES).decode("utf-8-sig")
    except (Refusal, UnicodeDecodeError):
        raise ValueError(
            f"{root} has no readable books.txt; expected the published layout: books.txt, images/ and annotations/"
        ) from None
    titles = [line.strip() for line in text.splitlines() if line.strip()]
    for title in titles:
        try:
            acceptable_name(title)
        except Refusal as refusal:
            raise ValueError(f"{root / 'books.txt'}: a title cannot be a file name, {refusal.evidence}") from None
        if "/" in title:
            raise ValueError(f"{root / 'books.txt'}: title {title!a} holds a slash; expected a plain name")
    unknown = sorted(set(wanted) - set(titles))
    if unknown:
        raise ValueError(
            f"books of the Manga109 source: {', '.join(unknown)} not in {root / 'books.txt'} ({len(titles)} titles)"
        )
    return [title for title in titles if not wanted or title in wanted]


def _authors(root: Path) -> dict[str, str]:
    """Authors by title from ``authors.csv`` (rows ``title,author``), a file of one's own; {} without it."""
    try:
        text = read_inside(root, "authors.csv", MAX_LIST_BYTES).decode("utf-8-sig")
    except Refusal as refusal:
        if refusal.state == "missing":
            return {}
        raise ValueError(f"{root / 'authors.csv'}: {refusal.reason} ({refusal.evidence})") from None
    return {row[0].strip(): row[1].strip() for row in csv.reader(text.splitlines()) if len(row) >= 2}


def _sha256(root: Path, name: str) -> str:
    """Of the image; empty where it is missing, which its import reports."""
    try:
        return hashlib.sha256(read_inside(root / "images", name, MAX_IMAGE_BYTES)).hexdigest()
    except Refusal:
        return ""
