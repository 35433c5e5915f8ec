"""What judges saw in images, so that every picture meets every judge once, in this run or in an earlier one.

The folder outlives runs. One file holds what a judge (its weights and its way to prepare pictures, by digest) saw in
one call, under the digest of those pictures in their order: a batch of other pictures gives other last bits. So a run
that finds files gets the bits of one that finds none. Files are complete or absent, and any of them may be deleted; the
time of its last use is a file's time of change (`prune`).
"""

import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from diffsensei.geometry import Boxes

Gray = NDArray[np.uint8]
Embed = Callable[[Sequence[Gray]], NDArray[np.float32]]
"""Panels or crops (H, W) uint8 to features (n, d)."""
Detect = Callable[[list[Gray]], list[tuple[Boxes, Boxes | None]]]
"""Panels or pages (H, W) uint8 to boxes of dialogs (k, 4) and, where the detector knows them, of characters."""
Seen = TypeVar("Seen")
Arrays = Mapping[str, NDArray[Any]]

DAY_S = 86_400
_DIGEST_BYTES = 32
_UNKNOWN = -1
"""Instead of a number of characters: the detector does not look for them."""


def cached(embed: Embed, folder: Path, encoder: str) -> Embed:
    """``embed`` that sees no picture twice and looks in ``folder`` before it looks at pictures.

    ``encoder`` stands for its weights and its preparation of pictures; each has a folder of its own.

    The result raises ValueError where a stored file cannot be read.
    """
    look = _remembered(
        lambda images: list(embed(images)),
        folder / _name(encoder),
        save=lambda rows: {"vectors": np.stack(rows)},
        load=lambda stored: list(np.asarray(stored["vectors"], np.float32)),
    )
    return lambda images: np.stack(look(images)) if len(images) else embed([])


def cached_detections(detect: Detect, folder: Path, detector: str) -> Detect:
    """``detect`` in the same way; ``detector`` stands for its weights, its thresholds and what it looks for."""
    look = _remembered(detect, folder / _name(detector), save=_boxes_to_arrays, load=_boxes_from_arrays)
    return lambda images: look(images)


def _remembered(
    see: Callable[[list[Gray]], list[Seen]],
    place: Path,
    save: Callable[[list[Seen]], Arrays],
    load: Callable[[Arrays], list[Seen]],
) -> Callable[[Sequence[Gray]], list[Seen]]:
    known: dict[bytes, Seen] = {}

    def look(images: Sequence[Gray]) -> list[Seen]:
        digests = [image_digest(image) for image in images]
        fresh = {digest: image for digest, image in zip(digests, images, strict=True) if digest not in known}
        if fresh:
            path = place / f"{hashlib.sha256(b''.join(fresh)).hexdigest()[:32]}.npz"
            if path.is_file():
                found = _read(path, list(fresh), load)
            else:
                found = see(list(fresh.values()))
                _write(path, list(fresh), save(found))
            known.update(zip(fresh, found, strict=True))
        return [known[digest] for digest in digests]

    return look


@dataclass(frozen=True)
class Pruned:
    """What `prune` removed, or would."""

    num_files: int
    num_bytes: int
    kept_files: int
    kept_bytes: int


def prune(folder: Path, unused_days: float, *, dry_run: bool) -> Pruned:
    """Remove what no run looked into for ``unused_days``: the next that needs it sees the pictures again.

    With ``dry_run`` nothing is removed. Raises ValueError for less than a day: a run that is going on counts on it.
    """
    if unused_days < 1:
        raise ValueError(f"expected at least one day without use, got {unused_days:g}")
    oldest = time.time() - unused_days * DAY_S
    counts = {True: [0, 0], False: [0, 0]}
    for path in sorted(folder.glob("*/*")):
        if path.suffix not in (".npz", ".partial"):
            continue
        state = path.stat()
        old = state.st_mtime < oldest
        counts[old][0] += 1
        counts[old][1] += state.st_size
        if old and not dry_run:
            path.unlink(missing_ok=True)
    return Pruned(*counts[True], *counts[False])


def image_digest(image: Gray) -> bytes:
    """sha256 (32 bytes) of an image (H, W): its shape and its pixels."""
    return hashlib.sha256(f"{image.shape} {image.dtype}".encode() + np.ascontiguousarray(image).tobytes()).digest()


def _name(judge: str) -> str:
    return hashlib.sha256(judge.encode()).hexdigest()[:16]


def _boxes_to_arrays(found: list[tuple[Boxes, Boxes | None]]) -> Arrays:
    dialogs, characters = [row for row, _ in found], [row for _, row in found]
    nobody = np.zeros((0, 4), np.float32)
    return {
        "dialogs": np.concatenate([nobody, *dialogs]),
        "num_dialogs": np.array([len(row) for row in dialogs]),
        "characters": np.concatenate([nobody, *(row for row in characters if row is not None)]),
        "num_characters": np.array([_UNKNOWN if row is None else len(row) for row in characters]),
    }


def _boxes_from_arrays(stored: Arrays) -> list[tuple[Boxes, Boxes | None]]:
    dialogs = np.split(np.asarray(stored["dialogs"]), np.cumsum(stored["num_dialogs"]))
    counts = np.asarray(stored["num_characters"], dtype=np.int64)
    characters = np.split(np.asarray(stored["characters"]), np.cumsum(np.maximum(counts, 0)))
    return [
        (boxes, None if count == _UNKNOWN else people)
        for boxes, people, count in zip(dialogs[:-1], characters[:-1], counts, strict=True)
    ]


def _write(path: Path, digests: list[bytes], arrays: Arrays) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.partial")  # two runs may score at once
    with temporary.open("wb") as file:
        known = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, _DIGEST_BYTES)
        named: dict[str, Any] = {"digests": known, **arrays}
        np.savez(file, **named)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def _read(path: Path, digests: list[bytes], load: Callable[[Arrays], list[Seen]]) -> list[Seen]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
        known, found = arrays["digests"], load(arrays)
    except (OSError, KeyError, ValueError, EOFError, BadZipFile) as error:
        raise ValueError(f"{path}: expected cached features, cannot read them ({error}); delete the file") from error
    if known.tobytes() != b"".join(digests) or len(found) != len(digests):
        raise ValueError(f"{path}: expected features of other pictures than it holds; delete the file")
    os.utime(path)
    return found
