"""Features of images already seen, so that every picture meets every encoder once.

The key is the picture (sha256 of shape and pixels) and the encoder with its way to prepare pictures (digest of weights,
processor, fit). One file per call that saw something new, complete or absent: whoever resumes after a crash
sees the same pictures in the same batches as an uninterrupted run, and gets the same bits.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

Gray = NDArray[np.uint8]
Embed = Callable[[Sequence[Gray]], NDArray[np.float32]]
"""Panels or crops (H, W) uint8 to features (n, d)."""

_DIGEST_BYTES = 32


def cached(embed: Embed, folder: Path, encoder: str) -> Embed:
    """``embed`` that looks in ``folder`` first.

    ``encoder`` stands for its weights and its preparation of pictures; each has a folder of its own.

    Raises ValueError where a stored file cannot be read.
    """
    place = folder / hashlib.sha256(encoder.encode()).hexdigest()[:16]
    place.mkdir(parents=True, exist_ok=True)
    known: dict[bytes, NDArray[np.float32]] = {}
    for path in sorted(place.glob("*.npz")):
        known.update(_read(path))

    def look(images: Sequence[Gray]) -> NDArray[np.float32]:
        digests = [image_digest(image) for image in images]
        fresh = {digest: image for digest, image in zip(digests, images, strict=True) if digest not in known}
        if fresh:
            vectors = embed(list(fresh.values()))
            known.update(zip(fresh, vectors, strict=True))
            _write(place, list(fresh), vectors)
        return np.stack([known[digest] for digest in digests]) if digests else embed([])

    return look


def image_digest(image: Gray) -> bytes:
    """sha256 (32 bytes) of an image (H, W): its shape and its pixels."""
    return hashlib.sha256(f"{image.shape} {image.dtype}".encode() + np.ascontiguousarray(image).tobytes()).digest()


def _write(place: Path, digests: list[bytes], vectors: NDArray[np.float32]) -> None:
    name = hashlib.sha256(b"".join(digests)).hexdigest()[:16]
    temporary = place / f"{name}.partial"
    with temporary.open("wb") as file:
        np.savez(file, digests=np.frombuffer(b"".join(digests), np.uint8).reshape(-1, _DIGEST_BYTES), vectors=vectors)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(place / f"{name}.npz")


def _read(path: Path) -> dict[bytes, NDArray[np.float32]]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            digests, vectors = stored["digests"], stored["vectors"]
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise ValueError(f"{path}: expected cached features, cannot read them ({error}); delete the file") from error
    return {row.tobytes(): vector for row, vector in zip(digests, vectors, strict=True)}
