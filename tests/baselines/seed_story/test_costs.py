import pytest

from diffsensei.baselines.seed_story.costs import COSTS, _mean_read, _tokens, _Tower
from diffsensei.config import load_preset
from diffsensei.costs.counting import count_weights
from tests.costs.workloads import few, workload

TINY = load_preset("tiny")


def test_qwens_tower_costs_what_its_size_says() -> None:
    """ViT-G of 1.9 billion parameters on 1024 patches, pooled to 256 tokens of 4096."""
    tower = _Tower.of(load_preset("paper").baselines.seed_story.visual_encoder)
    assert (tower.num_tokens, tower.dim) == (256, 4096)
    assert tower.weights.beside_bytes == pytest.approx(2 * 1.94e9, rel=0.03)
    assert tower.operations == pytest.approx(2 * 1.84e9 * 1024, rel=0.15)


def test_writing_captions_costs_reading_the_page_once_more() -> None:
    work = workload(TINY, few({4: 2}))
    own, given = COSTS["generate_seed_story"](work), COSTS["generate_seed_story_given"](work)
    assert own.teraflop > given.teraflop
    assert own.memory_bytes == given.memory_bytes


def test_training_panels_read_half_of_those_before_them_on_average() -> None:
    method = TINY.baselines.seed_story
    assert method.window == 4
    # On a page of three: none, one and two before; half of them are read.
    assert _mean_read(workload(TINY, few({2: 1}, training={3: 7})), method) == pytest.approx((0 + 1 + 2) / 3 / 2)
    assert _tokens(method) == method.language.max_caption_tokens + method.language.num_slots + 6


def test_the_detokenizer_trains_keys_and_values_alone() -> None:
    work = workload(TINY, few({4: 2}))
    costs = [COSTS[name](work) for name in ("seed_story_language", "seed_story")]
    assert all(cost.teraflop > 0 for cost in costs)
    unet = sum(count_weights(work.passes.network(None, False)))
    assert costs[1].memory_bytes > 4 * unet
