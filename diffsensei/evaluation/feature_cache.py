"""Features of images already seen, so that every picture meets every encoder once, in this run or in an earlier one.

The folder outlives runs. One file holds what an encoder (its weights and its way to prepare pictures, by digest) saw in
one call, under the digest of those pictures in their order: a batch of other pictures gives other last bits. So a run
that finds files gets the bits of one that finds none. Files are complete or absent, and any of them may be deleted.
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
    """``embed`` that sees no picture twice and looks in ``folder`` before it looks at pictures.

    ``encoder`` stands for its weights and its preparation of pictures; each has a folder of its own.

    The result raises ValueError where a stored file cannot be read.
    """
    place = folder / hashlib.sha256(encoder.encode()).hexdigest()[:16]
    known: dict[bytes, NDArray[np.float32]] = {}

    def look(images: Sequence[Gray]) -> NDArray[np.float32]:
        digests = [image_digest(image) for image in images]
        fresh = {digest: image for digest, image in zip(digests, images, strict=True) if digest not in known}
        if fresh:
            path = place / f"{hashlib.sha256(b''.join(fresh)).hexdigest()[:32]}.npz"
            if path.is_file():
                vectors = _read(path, list(fresh))
            else:
                vectors = embed(list(fresh.values()))
                _write(path, list(fresh), vectors)
            known.update(zip(fresh, vectors, strict=True))
        return np.stack([known[digest] for digest in digests]) if digests else embed([])

    return look


def image_digest(image: Gray) -> bytes:
    """sha256 (32 bytes) of an image (H, W): its shape and its pixels."""
    return hashlib.sha256(f"{image.shape} {image.dtype}".encode() + np.ascontiguousarray(image).tobytes()).digest()


def _write(path: Path, digests: list[bytes], vectors: NDArray[np.float32]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.partial")  # two runs may score at once
    with temporary.open("wb") as file:
        np.savez(file, digests=np.frombuffer(b"".join(digests), np.uint8).reshape(-1, _DIGEST_BYTES), vectors=vectors)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def _read(path: Path, digests: list[bytes]) -> NDArray[np.float32]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            found, vectors = stored["digests"], np.asarray(stored["vectors"], np.float32)
    except (OSError, KeyError, ValueError, EOFError, BadZipFile) as error:
        raise ValueError(f"{path}: expected cached features, cannot read them ({error}); delete the file") from error
    if found.tobytes() != b"".join(digests) or len(vectors) != len(digests):
        raise ValueError(f"{path}: expected features of other pictures than it holds; delete the file")
    return vectors
