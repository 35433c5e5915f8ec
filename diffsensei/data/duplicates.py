"""Pictures that look the same: 64-bit difference hashes within a few bits of each other."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MAX_DISTANCE = 4
"""Differing bits up to which two hashes mean the same picture: re-encoding flips one or two."""
PIECES = tuple(np.uint64(((1 << width) - 1) << 13 * place) for place, width in enumerate((13, 13, 13, 13, 12)))
"""Masks that share out the 64 bits over `MAX_DISTANCE` + 1 pieces."""


class LookAlikes:
    """The difference hashes of pictures: 16 hex digits each, empty for near-blank ones, which match nothing."""

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
        """How many other pages look like each page (n,).

        Not every pair is compared: two hashes that differ in at most 4 bits are equal in one of five pieces, so it is
        enough to look among those that share a piece (multi-index hashing, Norouzi et al. 2012).
        """
        counts = np.zeros(len(self._values), dtype=np.int64)
        known = np.flatnonzero(self._known)
        values = self._values[known]
        for piece, mask in enumerate(PIECES):
            order = np.argsort(values & mask, kind="stable")
            ordered, keys = values[order], (values & mask)[order]
            starts = np.arange(len(order))
            for step in range(1, len(order)):
                starts = starts[starts + step < len(order)]
                starts = starts[keys[starts] == keys[starts + step]]
                if not len(starts):
                    break
                differing = ordered[starts] ^ ordered[starts + step]
                near = np.bitwise_count(differing) <= MAX_DISTANCE
                for earlier in PIECES[:piece]:  # pairs that share an earlier piece were counted there
                    near &= (differing & earlier) != 0
                for side in (starts[near], starts[near] + step):
                    np.add.at(counts, known[order[side]], 1)
        return counts

    def pairs_between(self, chosen: NDArray[np.bool_]) -> NDArray[np.intp]:
        """(k, 2): position in ``chosen``, and the first position outside it that looks the same; every chosen one that
        has such a look-alike, in order. For few chosen ones: each is compared with all others.
        """
        inside, outside = (np.flatnonzero(side & self._known) for side in (chosen, ~chosen))
        others = self._values[outside]
        pairs = []
        for position in inside:
            near = np.bitwise_count(others ^ self._values[position]) <= MAX_DISTANCE
            if near.any():
                pairs.append((position, outside[near.argmax()]))
        return np.array(pairs, dtype=np.intp).reshape(-1, 2)
