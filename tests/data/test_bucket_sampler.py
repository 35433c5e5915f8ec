from collections import Counter

import numpy as np
import pytest

from diffsensei.data.bucket_sampler import BucketSampler

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


def test_no_panels_is_an_error() -> None:
    with pytest.raises(ValueError, match="no panels"):
        BucketSampler(np.array([], np.int64), [4], seed=0)
