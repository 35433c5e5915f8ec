"""Which of one's own files is the image behind which url of the annotations (paper sec. 3.2: images are not shipped).

By content where the digest is known, else by look, else by shape; a half may be part of a spread that is one file
already. A url is matched only where one file fits it and it is the only url that this file fits: the rest is said to be
ambiguous, with the candidates, and never guessed.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from diffsensei.data.duplicates import MAX_DISTANCE
from diffsensei.data.sources.hash_list import ImageHash
from diffsensei.data.validation.stitch import KNOWN_RATIOS, RATIO_TOLERANCE

Method = Literal["sha256", "dhash", "geometry"]
MAX_NAMED = 5
"""Candidates that the evidence of an ambiguous url names."""


@dataclass(frozen=True)
class Wanted:
    """One url: the image's annotated width and the lowest annotated edge (pixels), and what is known of its picture."""

    url: str
    image_path: str
    width: int
    lowest_edge: float
    is_left: bool = True
    """Whether it is the left half of its page."""
    known: ImageHash = field(default_factory=ImageHash)


@dataclass(frozen=True)
class Piece:
    """A picture one has: a whole file, or the ``part`` of a spread from column ``start`` to ``stop`` (pixels).

    ``sha256`` is that of the file, and ``dhash`` (16 hex digits or empty) that of the piece.
    """

    file: str
    sha256: str
    dhash: str
    width: int
    height: int
    start: int = 0
    stop: int = 0
    """0: the whole file."""

    @property
    def is_whole(self) -> bool:
        """Whether the piece is its file."""
        return self.stop == 0


@dataclass(frozen=True)
class Match:
    """The verdict on one url. ``piece`` is there for matched ones; ``candidates`` counts the pieces that fit."""

    url: str
    state: Literal["matched", "ambiguous", "missing"]
    method: Method | None = None
    piece: Piece | None = None
    candidates: int = 0
    evidence: str = ""


def match(wanted: Sequence[Wanted], pieces: Sequence[Piece]) -> list[Match]:
    """The verdict on each of ``wanted``, in order: by digest, then by hash, then by shape among what is left."""
    found: dict[str, Match] = {}
    whole: dict[str, list[int]] = defaultdict(list)
    for index, piece in enumerate(pieces):
        if piece.is_whole:
            whole[piece.sha256].append(index)
    for item in wanted:
        same = whole.get(item.known.sha256, []) if item.known.sha256 else []
        if same:
            # Files of one digest are one picture: whichever is taken, and for how many urls, the bytes are right.
            evidence = f"sha256 {item.known.sha256[:16]}"
            found[item.url] = Match(item.url, "matched", "sha256", pieces[same[0]], len(same), evidence)
    for method, fitting in _BY_LIKENESS:
        left = [item for item in wanted if item.url not in found]
        free = _free(pieces, found.values())
        _decide(method, left, free, fitting(left, free), found)
    return [found.get(item.url) or Match(item.url, "missing", evidence="no file fits") for item in wanted]


def _free(pieces: Sequence[Piece], found: Iterable[Match]) -> list[Piece]:
    """The pieces that are no match yet, nor part of a file that is, nor the file of a part that is."""
    taken = [match.piece for match in found if match.piece is not None]
    whole = {piece.sha256 for piece in taken if piece.is_whole}
    parted = {piece.sha256 for piece in taken if not piece.is_whole}
    parts = {_picture(piece) for piece in taken}
    return [
        piece
        for piece in pieces
        if piece.sha256 not in whole
        and _picture(piece) not in parts
        and not (piece.is_whole and piece.sha256 in parted)
    ]


def _decide(
    method: Method,
    wanted: Sequence[Wanted],
    pieces: Sequence[Piece],
    fits: Sequence[Sequence[int]],
    found: dict[str, Match],
) -> None:
    """Add the verdicts of one method; ``fits`` are, for each of ``wanted``, the indices of ``pieces`` that fit it."""
    claims: dict[tuple[str, int, int], int] = defaultdict(int)
    pictures = [dict.fromkeys(_picture(pieces[index]) for index in indices) for indices in fits]
    for of_url in pictures:
        for picture in of_url:
            claims[picture] += 1
    for item, indices, of_url in zip(wanted, fits, pictures, strict=True):
        if not indices:
            continue
        if len(of_url) == 1 and claims[_picture(pieces[indices[0]])] == 1:
            piece = pieces[indices[0]]
            found[item.url] = Match(item.url, "matched", method, piece, 1, _evidence(method, item, piece))
            continue
        ordered = sorted(indices, key=lambda index: not _numbered_alike(item.image_path, pieces[index].file))
        names = ", ".join(_place(pieces[index]) for index in ordered[:MAX_NAMED])
        shared = "" if len(of_url) > 1 else "; it fits other urls as well"
        found[item.url] = Match(item.url, "ambiguous", method, None, len(of_url), f"{names}{shared}")


def _looking_alike(wanted: Sequence[Wanted], pieces: Sequence[Piece]) -> list[list[int]]:
    """Pieces with nearly the hash of each url's image, and a fitting shape."""
    having = [index for index, piece in enumerate(pieces) if piece.dhash]
    hashes = np.array([int(pieces[index].dhash, 16) for index in having], dtype=np.uint64)
    fits: list[list[int]] = []
    for item in wanted:
        near: list[int] = []
        if item.known.dhash and having:
            distances = np.bitwise_count(hashes ^ np.uint64(int(item.known.dhash, 16)))
            near = [having[int(place)] for place in np.flatnonzero(distances <= MAX_DISTANCE)]
        fits.append([index for index in near if fits_shape(item, pieces[index])])
    return fits


def _of_one_shape(wanted: Sequence[Wanted], pieces: Sequence[Piece]) -> list[list[int]]:
    """Pieces of just the annotated width that reach the lowest box; none for a url whose look is known."""
    by_width: dict[int, list[int]] = defaultdict(list)
    for index, piece in enumerate(pieces):
        by_width[piece.width].append(index)
    return [
        [] if item.known.dhash else [index for index in by_width.get(item.width, []) if fits_shape(item, pieces[index])]
        for item in wanted
    ]


_BY_LIKENESS: tuple[tuple[Method, Callable[[Sequence[Wanted], Sequence[Piece]], list[list[int]]]], ...] = (
    ("dhash", _looking_alike),
    ("geometry", _of_one_shape),
)
"""Strongest evidence first; what one leaves ambiguous, weaker evidence does not settle."""


def fits_shape(item: Wanted, piece: Piece) -> bool:
    """Whether the piece is as wide as annotated, or by a known ratio, and then as high as boxes and hash list ask."""
    if item.width <= 0 or not (piece.is_whole or item.is_left == (piece.start == 0)):
        return False
    ratio = piece.width / item.width
    if not any(abs(ratio / known - 1) <= RATIO_TOLERANCE for known in (1.0, *KNOWN_RATIOS)):
        return False
    if item.known.height and item.known.width:
        aspect = item.known.height / item.known.width
        return abs(piece.height / piece.width / aspect - 1) <= 2 * RATIO_TOLERANCE
    return piece.height / ratio * (1 + RATIO_TOLERANCE) >= item.lowest_edge


def _picture(piece: Piece) -> tuple[str, int, int]:
    return piece.sha256, piece.start, piece.stop


def _numbered_alike(image_path: str, file: str) -> bool:
    numbers = [re.findall(r"[0-9]+", path.rpartition("/")[2].rpartition(".")[0])[-1:] for path in (image_path, file)]
    return bool(numbers[0]) and [int(n) for n in numbers[0]] == [int(n) for n in numbers[1]]


def _evidence(method: Method, item: Wanted, piece: Piece) -> str:
    shape = f"{piece.width}x{piece.height} for width {item.width}"
    if method == "geometry":
        return f"the only file of its shape, {shape}"
    distance = (int(item.known.dhash, 16) ^ int(piece.dhash, 16)).bit_count()
    return f"dhash differs in {distance} bits, {shape}"


def _place(piece: Piece) -> str:
    return piece.file if piece.is_whole else f"{piece.file}[{piece.start}:{piece.stop}]"
