from typing import Any

import numpy as np
import pytest
import torch

from diffsensei.config.schema import ConditioningConfig
from diffsensei.data.panels.training_panels import TrainingPanels, read_training_panels
from diffsensei.training.batch import CaptionedBatches, ConditionedBatches, PanelBatch
from diffsensei.training.batch_plan import plan_batches
from diffsensei.training.feature_store import PanelMoments, StoredCharacters, StoredText, read_index

CPU = torch.device("cpu")
NUM_STEPS = 12


@pytest.fixture
def moments(world: Any) -> PanelMoments:
    return PanelMoments(world.features, read_index(world.features))


@pytest.fixture
def panels(world: Any, moments: PanelMoments, conditioning: ConditioningConfig) -> TrainingPanels:
    return read_training_panels(
        world.panels / "train", moments.panel_buckets, moments.buckets, conditioning.min_reference_side
    )


def conditioned(
    world: Any,
    moments: PanelMoments,
    panels: TrainingPanels,
    conditioning: ConditioningConfig,
    micro: int = 4,
    with_targets: bool = False,
) -> ConditionedBatches:
    index = read_index(world.features)
    text, characters = StoredText(world.features, index), StoredCharacters(world.features, index)
    plan = plan_batches("step", moments, (4,), (micro,), seed=1)
    return ConditionedBatches(plan, panels, moments, text, characters, conditioning, with_targets=with_targets)


def assert_same(one: Any, other: Any) -> None:
    for name in one.__dataclass_fields__:
        left, right = getattr(one, name), getattr(other, name)
        if isinstance(left, torch.Tensor):
            assert torch.equal(left, right), name
        elif hasattr(left, "__dataclass_fields__"):
            assert_same(left, right)
        else:
            assert left == right, name


def test_text_batches_have_no_layout_and_the_features_of_their_panels(
    world: Any, moments: PanelMoments, panels: TrainingPanels
) -> None:
    text = StoredText(world.features, read_index(world.features))
    plan = plan_batches("step", moments, (4,), (4,), seed=1)
    batch = CaptionedBatches(plan, panels, moments, text, caption_drop_rate=0.0).batch(3, 0, CPU)
    bucket, rows, _ = plan.part(3, 0)
    size = moments.buckets[bucket]
    assert batch.moments.shape == (4, 8, size.height // 4, size.width // 4)
    assert torch.equal(batch.moments, moments.read(bucket, rows))
    tokens, pooled = text(panels.panel_captions[rows])
    assert torch.equal(batch.conditions.text_tokens, tokens)
    assert torch.equal(batch.conditions.pooled_text, pooled)
    assert batch.conditions.time_ids[:, 4:].tolist() == [[size.height, size.width]] * 4
    assert batch.conditions.layout is None
    assert batch.references is None
    dropped = CaptionedBatches(plan, panels, moments, text, caption_drop_rate=1.0).batch(3, 0, CPU)
    assert torch.equal(dropped.conditions.text_tokens, text(np.zeros(4, np.int64))[0])


def test_layout_and_references_agree_slot_by_slot(
    world: Any, moments: PanelMoments, panels: TrainingPanels, conditioning: ConditioningConfig
) -> None:
    batches = conditioned(world, moments, panels, conditioning)
    seen = 0
    for step in range(NUM_STEPS):
        batch = batches.batch(step, 0, CPU)
        layout, references = batch.conditions.layout, batch.references
        assert layout is not None
        assert references is not None
        exists = layout.character_exists
        seen += int(exists.sum())
        assert layout.character_boxes.shape == (4, 4, 4)
        assert layout.dialog_boxes.shape == (4, 8, 4)
        assert (references.magi_cls.abs().sum(-1) > 0).equal(exists)
        assert (references.clip_tokens.abs().sum((-1, -2)) > 0).equal(exists)
        for boxes in (layout.character_boxes[exists], layout.dialog_boxes[layout.dialog_exists]):
            assert ((boxes >= 0) & (boxes <= 1)).all()
            assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert not layout.character_boxes[~exists].any()
    assert seen > 10


def test_parts_make_up_the_same_global_batch_however_it_is_cut(
    world: Any, moments: PanelMoments, panels: TrainingPanels, conditioning: ConditioningConfig
) -> None:
    whole = conditioned(world, moments, panels, conditioning, micro=4)
    parts = conditioned(world, moments, panels, conditioning, micro=1)
    assert (whole.num_parts(0), parts.num_parts(0), parts.num_items(0)) == (1, 4, 4)
    for step in range(NUM_STEPS):
        one = whole.batch(step, 0, CPU)
        pieces = [parts.batch(step, part, CPU) for part in range(4)]
        assert torch.equal(one.moments, torch.cat([piece.moments for piece in pieces]))
        joined = type(one.conditions).concatenated([piece.conditions for piece in pieces])
        assert_same(one.conditions, joined)


def test_a_batch_is_a_function_of_the_step(
    world: Any, moments: PanelMoments, panels: TrainingPanels, conditioning: ConditioningConfig
) -> None:
    batches = conditioned(world, moments, panels, conditioning, with_targets=True)
    forward: list[PanelBatch] = [batches.batch(step, 0, CPU) for step in range(4)]
    fresh = conditioned(world, moments, panels, conditioning, with_targets=True)
    for step in (3, 1):
        assert_same(fresh.batch(step, 0, CPU), forward[step])


def test_targets_are_the_panels_own_characters_and_captions_are_kept(
    world: Any, moments: PanelMoments, panels: TrainingPanels, conditioning: ConditioningConfig
) -> None:
    certain = conditioning.replaced(self_condition_rate=1.0, flip_rate=0.0, caption_drop_rate=1.0)
    batches = conditioned(world, moments, panels, certain, with_targets=True)
    for step in range(NUM_STEPS):
        batch = batches.batch(step, 0, CPU)
        assert batch.targets is not None
        assert batch.references is not None
        assert torch.equal(batch.targets.clip_tokens, batch.references.clip_tokens)
        _, rows, _ = plan_batches("step", moments, (4,), (4,), seed=1).part(step, 0)
        assert batch.captions == tuple(panels.captions[row] for row in panels.panel_captions[rows])
    other = conditioned(world, moments, panels, certain.replaced(self_condition_rate=0.0), with_targets=True)
    differing = 0
    for step in range(NUM_STEPS):
        batch = other.batch(step, 0, CPU)
        assert batch.targets is not None
        assert batch.references is not None
        differing += not torch.equal(batch.targets.clip_tokens, batch.references.clip_tokens)
    assert differing
