"""Which panels each forward pass of a step sees: a function of (seed, step, part), whatever the number of processes."""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from diffsensei.config.schema import BucketDraw
from diffsensei.data.panels.bucket_sampler import BucketSampler
from diffsensei.seeding import numpy_stream
from diffsensei.training.feature_store import PanelMoments


class Part(NamedTuple):
    """The share of a global batch that one forward pass works on."""

    bucket: int
    panels: NDArray[np.int64]
    """Rows of the panel set (b,)."""
    streams: list[np.random.Generator]
    """(b,) a random stream for each place in the global batch."""


class BatchPlan(Protocol):
    """How the panels of a step are chosen and shared out."""

    def num_parts(self, step: int) -> int:
        """Forward passes of optimizer step ``step``, over all processes."""
        ...

    def num_items(self, step: int) -> int:
        """Panels in the global batch of ``step``."""
        ...

    def part(self, step: int, part: int) -> Part:
        """Part ``part`` of the global batch of ``step``."""
        ...


class BucketForAll:
    """All parts of a step come from one bucket."""

    def __init__(self, moments: PanelMoments, whole: list[int], micro: list[int], seed: int) -> None:
        """``whole`` and ``micro``: panels of a global batch and of a part, for each bucket."""
        self._whole, self._micro, self._seed = whole, micro, seed
        self._sampler = BucketSampler(moments.panel_buckets, whole, seed)

    def num_parts(self, step: int) -> int:
        bucket = self._sampler.batch(step).bucket
        return self._whole[bucket] // self._micro[bucket]

    def num_items(self, step: int) -> int:
        return self._whole[self._sampler.batch(step).bucket]

    def part(self, step: int, part: int) -> Part:
        bucket, panels = self._sampler.batch(step)
        places = range(part * self._micro[bucket], (part + 1) * self._micro[bucket])
        return Part(bucket, panels[places.start : places.stop], _streams(self._seed, step, places))


class BucketForEach:
    """Each part of a step comes from a bucket of its own: the parts of all steps are one sequence of small batches, as
    the reference code deals one sequence out to its ranks. All parts weigh the same, whatever their size."""

    def __init__(self, moments: PanelMoments, whole: list[int], micro: list[int], seed: int) -> None:
        """As `BucketForAll`; every bucket has equally many parts."""
        (self._parts,) = {size // part for size, part in zip(whole, micro, strict=True)}
        self._micro, self._seed = micro, seed
        self._sampler = BucketSampler(moments.panel_buckets, micro, seed)

    def num_parts(self, step: int) -> int:
        return self._parts

    def num_items(self, step: int) -> int:
        first = step * self._parts
        return sum(self._micro[self._sampler.batch(first + part).bucket] for part in range(self._parts))

    def part(self, step: int, part: int) -> Part:
        bucket, panels = self._sampler.batch(step * self._parts + part)
        start = part * max(self._micro)
        places = range(start, start + len(panels))
        return Part(bucket, panels, _streams(self._seed, step, places))


def _streams(seed: int, step: int, places: range) -> list[np.random.Generator]:
    return [numpy_stream(seed, "conditions", step, place) for place in places]


_PLANS: dict[BucketDraw, type[BucketForAll | BucketForEach]] = {"step": BucketForAll, "part": BucketForEach}


def plan_batches(
    draw: BucketDraw,
    moments: PanelMoments,
    global_batch_sizes: tuple[int, ...],
    micro_batch_sizes: tuple[int, ...],
    seed: int,
) -> BatchPlan:
    """The plan of ``draw`` (training.bucket_draw). Batch sizes are per size tier."""
    tiers = [bucket.tier_index for bucket in moments.buckets]
    whole, micro = ([sizes[tier] for tier in tiers] for sizes in (global_batch_sizes, micro_batch_sizes))
    return _PLANS[draw](moments, whole, micro, seed)
