from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsensei.data.panels.bucket_sampler import BucketSampler

BUCKETS = np.array([0] * 40 + [1] * 7 + [2] * 3 + [4])
"""51 panels; bucket 3 is empty and bucket 4 smaller than its batch."""
SIZES = [8, 4, 2, 4, 4]


def test_each_batch_is_of_one_bucket_and_full() -> None:
    sampler = BucketSampler(BUCKETS, SIZES, seed=3)
    for step in range(100):
        bucket, panels = sampler.batch(step)
        assert len(panels) == SIZES[bucket]
        assert set(BUCKETS[panels]) == {bucket}


def test_every_panel_is_visited_equally_often() -> None:
    sampler = BucketSampler(BUCKETS, SIZES, seed=3)
    steps = next(step for step in range(1000) if sampler.epoch_of(step) == 8)  # 8 epochs are whole batches everywhere
    visits = Counter(int(panel) for step in range(steps) for panel in sampler.batch(step).panels)
    assert set(visits.values()) == {8}
    assert len(visits) == len(BUCKETS)


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    forward = [BucketSampler(BUCKETS, SIZES, seed=3).batch(step) for step in range(30)]
    sampler = BucketSampler(BUCKETS, SIZES, seed=3)
    for step in (29, 0, 17, 17, 3):
        bucket, panels = sampler.batch(step)
        assert bucket == forward[step].bucket
        np.testing.assert_array_equal(panels, forward[step].panels)
    other = [BucketSampler(BUCKETS, SIZES, seed=4).batch(step).panels.tolist() for step in range(30)]
    assert other != [batch.panels.tolist() for batch in forward]


def test_within_a_permutation_no_panel_comes_twice() -> None:
    sampler = BucketSampler(np.zeros(64, np.int64), [8], seed=0)
    first = [int(panel) for step in range(8) for panel in sampler.batch(step).panels]
    second = [int(panel) for step in range(8, 16) for panel in sampler.batch(step).panels]
    assert sorted(first) == sorted(second) == list(range(64))
    assert first != second


@st.composite
def samplers(draw: st.DrawFn) -> tuple[np.ndarray, list[int], int]:
    """The arguments of a sampler: panels by bucket in any order, some buckets empty or smaller than their batch."""
    counts = draw(st.lists(st.integers(0, 25), min_size=1, max_size=5).filter(any))
    sizes = draw(st.lists(st.integers(1, 9), min_size=len(counts), max_size=len(counts)))
    buckets = np.random.default_rng(draw(st.integers(0, 99))).permutation(np.repeat(np.arange(len(counts)), counts))
    return buckets, sizes, draw(st.integers(0, 2**31))


@settings(deadline=None)
@given(samplers(), st.integers(1, 60))
def test_no_panel_of_a_bucket_comes_twice_before_all_came_once(
    arguments: tuple[np.ndarray, list[int], int], steps: int
) -> None:
    sampler = BucketSampler(*arguments)
    visits = np.zeros(len(arguments[0]), np.int64)
    for step in range(steps):
        bucket, panels = sampler.batch(step)
        np.add.at(visits, panels, 1)
        inside = visits[arguments[0] == bucket]
        assert inside.max() - inside.min() <= 1


@settings(deadline=None)
@given(samplers(), st.integers(1, 6))
def test_an_epoch_visits_every_panel_once_as_far_as_whole_batches_allow(
    arguments: tuple[np.ndarray, list[int], int], epochs: int
) -> None:
    """After e epochs a bucket of n panels gave e * n visits, less the rest that does not fill a batch."""
    panel_buckets, sizes, _ = arguments
    sampler = BucketSampler(*arguments)
    visits = Counter[int]()
    step = 0
    while sampler.epoch_of(step) < epochs:
        bucket, panels = sampler.batch(step)
        visits[bucket] += len(panels)
        step += 1
    for bucket, size in enumerate(sizes):
        whole = epochs * int((panel_buckets == bucket).sum())
        assert visits[bucket] == whole - whole % size


@settings(deadline=None)
@given(samplers(), st.lists(st.integers(0, 500), min_size=1, max_size=8))
def test_a_restarted_sampler_gives_the_same_batch_at_any_step(
    arguments: tuple[np.ndarray, list[int], int], steps: list[int]
) -> None:
    used = BucketSampler(*arguments)
    for step in steps:
        bucket, panels = BucketSampler(*arguments).batch(step)
        again = used.batch(step)
        assert (bucket, panels.tolist()) == (again.bucket, again.panels.tolist())


def test_no_panels_is_an_error() -> None:
    with pytest.raises(ValueError, match="no panels"):
        BucketSampler(np.array([], np.int64), [4], seed=0)
