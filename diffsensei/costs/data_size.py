"""How much data the stages see: counted where panels are cut, else what is assumed of MangaZero."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow.parquet as pq

from diffsensei.config.schema import BucketConfig
from diffsensei.data.panels.buckets import assign_buckets, build_buckets

MANGAZERO_SHARES = (0.45, 0.45, 0.10)
"""Assumed shares of panels in the tiers 256, 512 and 1024, which are not published."""


@dataclass(frozen=True)
class DataSize:
    """Panels to train on and to draw, and how they spread over the size tiers."""

    panels: int
    held_out: int
    shares: tuple[float, ...]
    """Of panels, by tier; their sum is 1."""
    basis: str
    """Where the numbers come from, for people."""

    @classmethod
    def of_mangazero(cls, buckets: BucketConfig) -> Self:
        """Paper sec. 3.2 and 5.1: 427,147 panels, 96 evaluation pages at 9.9 panels each."""
        known = len(buckets.tiers) == len(MANGAZERO_SHARES)
        shares = MANGAZERO_SHARES if known else (1 / len(buckets.tiers),) * len(buckets.tiers)
        spread = " / ".join(f"{share:.0%}" for share in shares)
        return cls(427_147, 948, shares, f"the paper's 427,147 panels, by size tier {spread} (assumed)")

    @classmethod
    def counted(cls, panels: Path, buckets: BucketConfig) -> Self:
        """From the output of the stage ``panels``."""
        train = pq.read_table(panels / "train" / "panels.parquet", columns=["height", "width"])
        held_out = pq.read_metadata(panels / "eval" / "panels.parquet").num_rows
        sizes = build_buckets(buckets)
        chosen = assign_buckets(train["height"].to_numpy(), train["width"].to_numpy(), sizes, buckets)
        tiers = np.array([bucket.tier_index for bucket in sizes])[chosen]
        shares = np.bincount(tiers, minlength=len(buckets.tiers)) / len(tiers)
        return cls(len(tiers), held_out, tuple(shares.tolist()), f"{len(tiers):,} panels, as cut")
