"""Pages that look the same: 64-bit difference hashes within a few bits of each other, compared block by block."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MAX_DISTANCE = 4
"""Differing bits up to which two hashes mean the same picture: re-encoding flips one or two."""
BLOCK = 256


class LookAlikes:
    """The difference hashes of a set of pages: 16 hex digits each, empty for near-blank pages, which match nothing."""

    def __init__(self, hashes: Sequence[str]) -> None:
        self._known = np.array([bool(text) for text in hashes], dtype=bool)
        self._values = np.array([int(text or "0", 16) for text in hashes], dtype=np.uint64)

    def matches(self, index: int) -> NDArray[np.intp]:
        """Positions of the other pages that look like page ``index``."""
        if not self._known[index]:
            return np.empty(0, dtype=np.intp)
        near = (np.bitwise_count(self._values ^ self._values[index]) <= MAX_DISTANCE) & self._known
        near[index] = False
        return np.flatnonzero(near)

    def counts(self) -> NDArray[np.int64]:
        """How many other pages look like each page (n,)."""
        counts = np.zeros(len(self._values), dtype=np.int64)
        for start in range(0, len(counts), BLOCK):
            block = self._values[start : start + BLOCK, None]
            near = (np.bitwise_count(block ^ self._values[None]) <= MAX_DISTANCE) & self._known[None]
            counts[start : start + BLOCK] = near.sum(axis=1) - 1
        counts[~self._known] = 0
        return counts
