"""Pages that look the same: every pair compared, against those that share a piece of their hash."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from diffsensei.data.duplicates import MAX_DISTANCE, LookAlikes
from tests.benchmarks.interleaved import Case

BLOCK = 256
PAGES = 10_000
"""A fifth of the data set, to keep the repeats short; the ratio grows with the number."""


def clustered(count: int, seed: int = 0) -> NDArray[np.uint64]:
    """``count`` hashes, of which a third lies within a few bits of another, and some share half of their bits."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 2**64, count, dtype=np.uint64)
    values[: count // 20] &= np.uint64(0xFFFF_FFFF)
    copies = rng.integers(count, size=count // 3)
    flipped = values[rng.integers(count, size=count // 3)]
    for _ in range(6):
        flipped = flipped ^ (np.uint64(1) << rng.integers(64, size=count // 3, dtype=np.uint64))
        keep = rng.random(count // 3) < 0.25
        values[copies[keep]] = flipped[keep]
    return values


def every_pair(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """For each of ``values``, how many others are within `MAX_DISTANCE` bits."""
    counts = np.zeros(len(values), dtype=np.int64)
    for start in range(0, len(values), BLOCK):
        near = np.bitwise_count(values[start : start + BLOCK, None] ^ values[None]) <= MAX_DISTANCE
        counts[start : start + BLOCK] = near.sum(axis=1) - 1
    return counts


def cases() -> Iterator[Case]:
    values = clustered(PAGES)
    alike = LookAlikes([f"{int(value):016x}" for value in values])

    def check() -> None:
        assert np.array_equal(every_pair(values), alike.counts())

    yield Case(f"look-alikes of {PAGES} pages", check, lambda: every_pair(values), alike.counts, 0.0)
