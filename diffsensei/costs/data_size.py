"""How much data the stages see: counted where panels are cut or annotated, else what is assumed of MangaZero."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow.parquet as pq

from diffsensei.config.schema import BucketConfig, SplitConfig
from diffsensei.data.annotation_file import read_annotations
from diffsensei.data.panels.buckets import assign_buckets, build_buckets
from diffsensei.data.records import parse_page

MANGAZERO_SHARES = (0.45, 0.45, 0.10)
"""Assumed shares of panels in the tiers 256, 512 and 1024, which are not published."""
MANGAZERO_PANELS, MANGAZERO_PAGES = 427_147, 43_264
"""Paper sec. 3.2."""
MANGAZERO_HELD_OUT = 96
"""Pages, of them (paper sec. 3.2)."""


@dataclass(frozen=True)
class Panels:
    """A set of pages: how many panels they have, and of which size."""

    pages: Mapping[int, int]
    """Panels on a page -> pages that have so many."""
    shares: tuple[float, ...]
    """Of panels, by size tier; their sum is 1."""

    @property
    def count(self) -> int:
        """Panels in all."""
        return sum(size * pages for size, pages in self.pages.items())

    def earlier(self, window: int, *, given: bool) -> dict[int, int]:
        """Number of earlier panels that are seen, at most ``window`` -> panels that see so many.

        With ``given`` the first panel of a page is not among them: benchmarks give it.
        """
        found: Counter[int] = Counter()
        for size, pages in self.pages.items():
            for place in range(1 if given else 0, size):
                found[min(place, window)] += pages
        return dict(found)


@dataclass(frozen=True)
class DataSize:
    """Panels to train on and to draw."""

    training: Panels
    held_out: Panels
    basis: str
    """Where the numbers come from, for people."""

    @classmethod
    def of_mangazero(cls, buckets: BucketConfig) -> Self:
        """The paper's numbers; panels are spread evenly over pages, which is not published."""
        shares = _assumed_shares(buckets)
        held_out = _evenly(MANGAZERO_HELD_OUT, MANGAZERO_PANELS / MANGAZERO_PAGES)
        trained = _evenly(MANGAZERO_PAGES - MANGAZERO_HELD_OUT, MANGAZERO_PANELS / MANGAZERO_PAGES)
        spread = " / ".join(f"{share:.0%}" for share in shares)
        basis = f"the paper's {MANGAZERO_PANELS:,} panels, by size tier {spread} (assumed)"
        return cls(Panels(trained, shares), Panels(held_out, shares), basis)

    @classmethod
    def counted(cls, panels: Path, buckets: BucketConfig) -> Self:
        """From the output of the stage ``panels``."""
        training, held_out = (_read_panels(panels / name / "panels.parquet", buckets) for name in ("train", "eval"))
        return cls(training, held_out, f"{training.count:,} panels, as cut")

    @classmethod
    def annotated(cls, annotations: Path, buckets: BucketConfig, split: SplitConfig | None) -> Self:
        """From ``annotations``, before they are validated: pages that have no panels yet count as MangaZero's.

        ``split`` None: all of it is only evaluated on.
        """
        sizes: list[int] = []
        heights: list[float] = []
        widths: list[float] = []
        series: set[str] = set()
        unknown = 0
        for raw in read_annotations(annotations):
            try:
                page = parse_page(raw)
            except ValueError:
                continue
            series.add(page.image_path.partition("/")[0])
            unknown += not page.frames
            sizes += [len(page.frames)] if page.frames else []
            for frame in page.frames:
                left, top, right, bottom = map(float, frame.bbox)
                heights.append(max(bottom - top, 1.0))
                widths.append(max(right - left, 1.0))
        pages = Counter(sizes) + Counter(_evenly(unknown, MANGAZERO_PANELS / MANGAZERO_PAGES))
        shares = _shares(heights, widths, buckets) if heights else _assumed_shares(buckets)
        every = Panels(dict(pages), shares)
        held_out = every
        if split is not None and pages:
            held_out = Panels(_evenly(split.eval_pages_per_series * len(series), every.count / pages.total()), shares)
        basis = f"{pages.total():,} pages, {every.count:,} panels" + (" (9.9 a page assumed)" if unknown else "")
        return cls(every, held_out, basis)


def _evenly(pages: int, mean: float) -> dict[int, int]:
    """``pages`` that have ``mean`` panels each, rounded so that the sum stays."""
    more = round(pages * (mean - int(mean)))
    return {size: count for size, count in ((int(mean), pages - more), (int(mean) + 1, more)) if count}


def _assumed_shares(buckets: BucketConfig) -> tuple[float, ...]:
    known = len(buckets.tiers) == len(MANGAZERO_SHARES)
    return MANGAZERO_SHARES if known else (1 / len(buckets.tiers),) * len(buckets.tiers)


def _read_panels(path: Path, buckets: BucketConfig) -> Panels:
    table = pq.read_table(path, columns=["page_id", "height", "width"])
    on_page = Counter(table["page_id"].to_pylist())
    if not on_page:
        return Panels({}, _assumed_shares(buckets))
    return Panels(dict(Counter(on_page.values())), _shares(table["height"], table["width"], buckets))


def _shares(heights: Sequence[float], widths: Sequence[float], buckets: BucketConfig) -> tuple[float, ...]:
    sizes = build_buckets(buckets)
    chosen = assign_buckets(np.asarray(heights), np.asarray(widths), sizes, buckets)
    tiers = np.array([bucket.tier_index for bucket in sizes])[chosen]
    shares = np.bincount(tiers, minlength=len(buckets.tiers)) / len(tiers)
    return tuple(float(share) for share in shares)
