from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsensei.config.presets import paper, small, tiny
from diffsensei.config.schema import BucketConfig
from diffsensei.data.panels.buckets import Bucket, assign_buckets, build_buckets, crop_offsets, fit_panel
from diffsensei.geometry import cover_crop

SHORT_SIDES = (512, 512, 544, 576, 576, 608, 640, 640, 672, 704, 736, 768, 832, 864, 896, 960, 1024)
"""The reference table's 1024 tier, widest first."""


def test_paper_sizes_are_those_of_the_reference_table() -> None:
    landscape = [(short, 2048 - 64 * k) for k, short in enumerate(SHORT_SIDES)]
    tier = landscape + [(long, short) for short, long in reversed(landscape[:-1])]
    expected = [
        (height * edge // 1024, width * edge // 1024, index)
        for index, edge in enumerate((256, 512, 1024))
        for height, width in tier
    ]
    buckets = build_buckets(paper().data.buckets)
    assert [(bucket.height, bucket.width, bucket.tier_index) for bucket in buckets] == expected
    assert len(buckets) == 99


@pytest.mark.parametrize("config", [tiny().data.buckets, small().data.buckets])
def test_other_presets_keep_the_area_of_their_tier(config: BucketConfig) -> None:
    buckets = build_buckets(config)
    assert len(buckets) == len(config.tiers) * (2 * config.buckets_per_orientation - 1)
    for bucket in buckets:
        edge = config.tiers[bucket.tier_index]
        assert 0.7 < bucket.height * bucket.width / edge**2 < 1.3
        unit = config.multiple * edge // max(config.tiers)
        assert bucket.height % unit == bucket.width % unit == 0


def test_sizes_that_are_not_whole_are_refused() -> None:
    with pytest.raises(ValueError, match="does not divide into 6 steps"):
        build_buckets(BucketConfig(tiers=(64,), buckets_per_orientation=7, multiple=8))
    with pytest.raises(ValueError, match="is not whole"):
        build_buckets(BucketConfig(tiers=(50, 64), buckets_per_orientation=5, multiple=8))


def test_every_bucket_is_its_own_assignment() -> None:
    config = paper().data.buckets
    buckets = build_buckets(config)
    heights = [bucket.height for bucket in buckets]
    widths = [bucket.width for bucket in buckets]
    assert assign_buckets(heights, widths, buckets, config).tolist() == list(range(len(buckets)))


def test_tier_follows_the_area_with_the_spec_switch_points() -> None:
    config = paper().data.buckets
    buckets = build_buckets(config)
    sides = np.array([404, 405, 809, 810])
    tiers = [buckets[index].tier_index for index in assign_buckets(sides, sides, buckets, config)]
    assert tiers == [0, 1, 1, 2]  # 163,840 px lies between 404^2 and 405^2, 655,360 px between 809^2 and 810^2


def test_assignment_treats_tall_and_wide_alike() -> None:
    config = paper().data.buckets
    buckets = build_buckets(config)
    rng = np.random.default_rng(0)
    heights, widths = rng.integers(64, 2048, (2, 500))
    upright = assign_buckets(heights, widths, buckets, config)
    lying = assign_buckets(widths, heights, buckets, config)
    for one, other in zip(upright, lying, strict=True):
        assert (buckets[one].height, buckets[one].width) == (buckets[other].width, buckets[other].height)


def test_fit_panel_shows_what_the_corrected_boxes_say() -> None:
    image = np.zeros((100, 300), np.uint8)
    image[40:60, 140:160] = 255
    bucket = Bucket(64, 64, 0)
    fitted = fit_panel(image, bucket)
    assert fitted.shape == (64, 64)
    assert crop_offsets(100, 300, bucket) == (0, 64)
    x1, y1, x2, y2 = cover_crop(np.array([140 / 300, 0.4, 160 / 300, 0.6]), 100, 300, 64, 64) * 64
    rows, columns = np.nonzero(fitted > 127)
    assert abs(columns.min() - x1) <= 1
    assert abs(columns.max() + 1 - x2) <= 1
    assert abs(rows.min() - y1) <= 1
    assert abs(rows.max() + 1 - y2) <= 1


def paper_sizes_by_the_rule() -> list[tuple[int, int]]:
    """The rule in whole numbers: 2^20 pixels over the long side, to the nearest multiple of 32, one exception."""
    landscape = []
    for long in range(2048, 1023, -64):
        short = 32 * ((2**20 + 16 * long) // (32 * long))
        landscape.append((512 if long == 1984 else short, long))
    tier = landscape + [(long, short) for short, long in landscape[-2::-1]]
    return [(height // shrink, width // shrink) for shrink in (4, 2, 1) for height, width in tier]


def test_paper_sizes_follow_the_rule() -> None:
    buckets = build_buckets(paper().data.buckets)
    assert [(bucket.height, bucket.width) for bucket in buckets] == paper_sizes_by_the_rule()


@settings(deadline=None)
@given(st.integers(1, 6000), st.integers(1, 6000))
def test_a_panel_gets_the_first_nearest_tier_and_aspect(height: int, width: int) -> None:
    """Recomputed bucket by bucket in fractions: ln a < ln b where a < b, and |ln q| = ln max(q, 1/q)."""
    config = paper().data.buckets
    buckets = build_buckets(config)
    chosen = int(assign_buckets([height], [width], buckets, config)[0])
    tier = min(range(3), key=lambda index: abs(height * width - config.tiers[index] ** 2))
    assert buckets[chosen].tier_index == tier

    def distance(bucket: Bucket) -> Fraction:
        ratio = Fraction(height * bucket.width, width * bucket.height)
        return max(ratio, 1 / ratio)

    nearest = min(distance(bucket) for bucket in buckets if bucket.tier_index == tier)
    # Logarithms are rounded: two buckets may tie in floating point where they differ by less than that.
    assert float(distance(buckets[chosen]) / nearest) == pytest.approx(1.0, abs=1e-12)


def test_the_first_wins_ties() -> None:
    config = BucketConfig(tiers=(2, 4), buckets_per_orientation=1, multiple=1)
    buckets = build_buckets(config)
    assert assign_buckets([2, 11], [5, 1], buckets, config).tolist() == [0, 1]  # 10 px lie as far from 4 as from 16
    twice = (Bucket(4, 2, 0), Bucket(2, 4, 0), Bucket(2, 4, 0), Bucket(4, 4, 1))
    assert assign_buckets([2, 1, 2], [2, 4, 1], twice, config).tolist() == [0, 1, 0]  # 1:1 lies between 2:1 and 1:2


@settings(deadline=None)
@given(st.integers(5, 200), st.integers(1, 60))
def test_extreme_aspects_fall_into_the_end_buckets_and_stay_inside(stretch: int, edge: int) -> None:
    config = paper().data.buckets
    buckets = build_buckets(config)
    for height, width, end in ((edge, edge * stretch, 0), (edge * stretch, edge, 32)):
        index = int(assign_buckets([height], [width], buckets, config)[0])
        assert index % 33 == end
        top, left = crop_offsets(height, width, buckets[index])
        assert top >= 0
        assert left >= 0
        assert (top if end == 0 else left) == 0  # only the long side is cropped


@settings(deadline=None, max_examples=30)
@given(st.integers(20, 200), st.integers(20, 200), st.sampled_from(build_buckets(paper().data.buckets)[:33]))
def test_any_panel_fills_its_bucket(height: int, width: int, bucket: Bucket) -> None:
    image = np.arange(height * width, dtype=np.uint64).reshape(height, width).astype(np.uint8)
    assert fit_panel(image, bucket).shape == (bucket.height, bucket.width)
