"""Which panels form the global batch of a step: a pure function of (seed, step), so resuming needs no state.

The panels of a bucket form an endless stream of permutations, cut into global batches: nothing is dropped and no batch
is partial. In epoch e bucket b (n_b panels, global batch g_b) yields floor((e+1) n_b/g_b) - floor(e n_b/g_b) batches,
and the epoch visits them in random order, so that a bucket is picked in proportion to what remains of it. All ranks
work on the same bucket in a step (in the reference each rank draws its own, and the slowest decides).
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffsensei.seeding import numpy_stream


class GlobalBatch(NamedTuple):
    """The panels of one optimizer step, all of one bucket."""

    bucket: int
    panels: NDArray[np.int64]
    """Rows of the panel set (g_b,)."""


class BucketSampler:
    """Batches of panels by bucket.

    ``panel_buckets`` (n,) is the bucket of each panel; ``batch_sizes`` the global batch size of each bucket.
    """

    def __init__(self, panel_buckets: NDArray[np.int64], batch_sizes: list[int], seed: int) -> None:
        if not len(panel_buckets):
            raise ValueError("the training set has no panels; check the validation report and data.split")
        self._seed = seed
        self._members = [np.flatnonzero(panel_buckets == bucket) for bucket in range(len(batch_sizes))]
        self._counts = np.array([len(members) for members in self._members], dtype=np.int64)
        self._batch_sizes = np.array(batch_sizes, dtype=np.int64)
        self._permutation = lru_cache(maxsize=2 * len(batch_sizes))(self._new_permutation)
        self._order = lru_cache(maxsize=2)(self._new_order)

    def batch(self, step: int) -> GlobalBatch:
        """The global batch of optimizer step ``step`` (from 0)."""
        epoch = self.epoch_of(step)
        order = self._order(epoch)
        position = step - self._steps_before(epoch)
        bucket = int(order[position])
        earlier = int(self._batches_before(epoch)[bucket]) + int(np.count_nonzero(order[:position] == bucket))
        count, size = int(self._counts[bucket]), int(self._batch_sizes[bucket])
        stream = np.arange(earlier * size, (earlier + 1) * size)
        pieces = [
            self._permutation(bucket, turn)[stream[stream // count == turn] % count]
            for turn in range(int(stream[0]) // count, int(stream[-1]) // count + 1)
        ]
        return GlobalBatch(bucket, np.concatenate(pieces))

    def epoch_of(self, step: int) -> int:
        """The epoch (from 0) that optimizer step ``step`` belongs to."""
        low, high = 0, 1
        while self._steps_before(high) <= step:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._steps_before(middle) <= step else (low, middle)
        return low

    def _batches_before(self, epoch: int) -> NDArray[np.int64]:
        return epoch * self._counts // self._batch_sizes

    def _steps_before(self, epoch: int) -> int:
        return int(self._batches_before(epoch).sum())

    def _new_order(self, epoch: int) -> NDArray[np.int64]:
        batches = self._batches_before(epoch + 1) - self._batches_before(epoch)
        order = np.repeat(np.arange(len(batches)), batches)
        return numpy_stream(self._seed, "bucket order", epoch).permutation(order)

    def _new_permutation(self, bucket: int, turn: int) -> NDArray[np.int64]:
        return numpy_stream(self._seed, "panel order", bucket, turn).permutation(self._members[bucket])
