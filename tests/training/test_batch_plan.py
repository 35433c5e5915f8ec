from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diffsensei.config import ConfigError, load_preset
from diffsensei.config.schema import BucketDraw
from diffsensei.data.panels.bucket_sampler import BucketSampler
from diffsensei.training.batch_plan import BatchPlan, plan_batches

TIERS = [0, 0, 1]
BUCKETS = np.array([0] * 24 + [1] * 12 + [2] * 9)
GLOBAL, MICRO, PARTS = (8, 4), (2, 1), 4


def plan(draw: BucketDraw) -> BatchPlan:
    moments: Any = SimpleNamespace(buckets=[SimpleNamespace(tier_index=tier) for tier in TIERS], panel_buckets=BUCKETS)
    return plan_batches(draw, moments, GLOBAL, MICRO, seed=5)


@pytest.mark.parametrize("draw", ["step", "part"])
def test_a_part_is_of_one_bucket_and_has_its_size(draw: BucketDraw) -> None:
    found = plan(draw)
    for step in range(30):
        assert found.num_parts(step) == PARTS
        parts = [found.part(step, number) for number in range(PARTS)]
        assert all(set(BUCKETS[part.panels]) == {part.bucket} for part in parts)
        assert all(len(part.panels) == len(part.streams) == MICRO[TIERS[part.bucket]] for part in parts)
        assert found.num_items(step) == sum(len(part.panels) for part in parts)


@pytest.mark.parametrize("draw", ["step", "part"])
def test_every_place_of_a_step_has_a_stream_of_its_own(draw: BucketDraw) -> None:
    found = plan(draw)
    drawn = [
        stream.random() for step in range(5) for number in range(PARTS) for stream in found.part(step, number).streams
    ]
    assert len(set(drawn)) == len(drawn)


def test_a_step_is_of_one_size_or_each_part_has_its_own() -> None:
    def sizes(draw: BucketDraw) -> list[int]:
        return [len({plan(draw).part(step, part).bucket for part in range(PARTS)}) for step in range(30)]

    assert set(sizes("step")) == {1}
    assert max(sizes("part")) > 1


def test_parts_that_draw_by_themselves_are_one_sequence_dealt_out_in_turn() -> None:
    """As accelerate deals the batches of the reference code's sampler out to its ranks."""
    found = plan("part")
    sampler = BucketSampler(BUCKETS, [MICRO[tier] for tier in TIERS], seed=5)
    for step in (0, 1, 17):
        for part in range(PARTS):
            bucket, panels = sampler.batch(step * PARTS + part)
            assert found.part(step, part).bucket == bucket
            np.testing.assert_array_equal(found.part(step, part).panels, panels)


def test_parts_that_draw_by_themselves_visit_every_panel_equally_often() -> None:
    found = plan("part")
    batches = 24 // 2 + 12 // 2 + 9  # of an epoch
    visits = Counter(
        int(panel) for number in range(4 * batches) for panel in found.part(number // PARTS, number % PARTS).panels
    )
    assert visits == dict.fromkeys(range(len(BUCKETS)), 4)


def test_unequal_numbers_of_parts_are_refused_before_anything_runs() -> None:
    assert load_preset("paper", ["training.bucket_draw=part"]).training.bucket_draw == "part"
    given = ["training.bucket_draw=part", "training.stage1.micro_batch_size=[8,2,1]"]
    given.append("training.stage1.global_batch_size=[128,16,8]")
    with pytest.raises(ConfigError, match=r"needs equally many parts .* training\.stage1 has \[16, 8, 8\]"):
        load_preset("paper", given)
