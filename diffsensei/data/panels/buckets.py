"""Training sizes: tiers of equal area, each with buckets over the aspect ratio (as in the reference code).

A panel is resized to cover its bucket and cropped at the centre, so that a batch holds panels of one size.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from diffsensei.config.schema import BucketConfig
from diffsensei.geometry import cover_size

REFERENCE_TIER = 1024
REFERENCE_EXCEPTIONS = {1984: 512}
"""Long side of the 1024 tier -> short side where the reference's table leaves its own rule (544 by the rule)."""
PANELS_AT_ONCE = 8192
"""Panels compared with all buckets in one matrix (6 MB for 99): a corpus of 430,000 in one would take a gigabyte."""


@dataclass(frozen=True)
class Bucket:
    """One training size in pixels."""

    height: int
    width: int
    tier_index: int


def build_buckets(config: BucketConfig) -> tuple[Bucket, ...]:
    """All buckets, tier by tier; within a tier from widest to tallest, the square once.

    With n buckets per orientation and S the edge of the largest tier, for k in 0..n-1 the long side is 2S - kS/(n-1)
    and the short one the multiple of ``config.multiple`` nearest to S^2 / long. Smaller tiers are that tier scaled
    down. (256, 512, 1024), 17 and 32 give the reference's 99 sizes. Raises ValueError when a size is not whole.
    """
    largest, count = max(config.tiers), config.buckets_per_orientation
    if count > 1 and largest % (count - 1):
        raise ValueError(
            f"data.buckets: the largest tier {largest} does not divide into {count - 1} steps; "
            f"choose buckets_per_orientation - 1 among its divisors"
        )
    landscape = []
    for k in range(count):
        long = largest if count == 1 else 2 * largest - k * (largest // (count - 1))
        short = config.multiple * round(largest**2 / (config.multiple * long))
        if largest == REFERENCE_TIER:
            short = REFERENCE_EXCEPTIONS.get(long, short)
        landscape.append((short, long))
    sizes = landscape + [(long, short) for short, long in reversed(landscape) if short != long]

    buckets = []
    for tier_index, tier in enumerate(config.tiers):
        for height, width in sizes:
            if height * tier % largest or width * tier % largest:
                raise ValueError(
                    f"data.buckets: {height}x{width} scaled from tier {largest} to {tier} is not whole; "
                    f"use tiers that are {largest} divided by powers of two"
                )
            buckets.append(Bucket(height * tier // largest, width * tier // largest, tier_index))
    return tuple(buckets)


def assign_buckets(
    heights: ArrayLike, widths: ArrayLike, buckets: tuple[Bucket, ...], config: BucketConfig
) -> NDArray[np.int64]:
    """The bucket index of every panel of ``heights`` x ``widths`` pixels (n,): nearest area, then nearest aspect.

    The aspect is compared by its logarithm, so 2:1 and 1:2 count alike; the reference compares the ratio itself, which
    favours tall buckets. The first wins ties.
    """
    heights, widths = np.asarray(heights, dtype=np.float64), np.asarray(widths, dtype=np.float64)
    areas = np.square(np.array(config.tiers, dtype=np.float64))
    tiers = np.abs(heights[:, None] * widths[:, None] - areas).argmin(axis=1)
    log_ratios = np.log([bucket.height / bucket.width for bucket in buckets])
    bucket_tiers = np.array([bucket.tier_index for bucket in buckets])
    chosen = np.empty(len(heights), dtype=np.int64)
    for start in range(0, len(heights), PANELS_AT_ONCE):
        part = slice(start, start + PANELS_AT_ONCE)
        distance = np.abs(np.log(heights[part] / widths[part])[:, None] - log_ratios)
        distance[tiers[part, None] != bucket_tiers] = np.inf
        chosen[part] = distance.argmin(axis=1)
    return chosen


def crop_offsets(height: int, width: int, bucket: Bucket) -> tuple[int, int]:
    """(top, left) of the centre crop, in pixels of the resized panel: SDXL's crop micro-condition."""
    new_height, new_width = cover_size(height, width, bucket.height, bucket.width)
    return (new_height - bucket.height) // 2, (new_width - bucket.width) // 2


def fit_panel(image: NDArray[np.uint8], bucket: Bucket) -> NDArray[np.uint8]:
    """The panel ``image`` (H, W) grey, resized (bicubic) to cover ``bucket`` and cropped at its centre."""
    height, width = image.shape
    new_height, new_width = cover_size(height, width, bucket.height, bucket.width)
    top, left = crop_offsets(height, width, bucket)
    resized = Image.fromarray(image).resize((new_width, new_height), Image.Resampling.BICUBIC)
    return np.asarray(resized.crop((left, top, left + bucket.width, top + bucket.height)))
