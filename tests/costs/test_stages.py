"""The counts of the paper's sizes against figures that others published of the same networks."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diffsensei.config import load_preset
from diffsensei.costs.data_size import DataSize
from diffsensei.costs.gpus import find_gpu
from diffsensei.costs.passes import Passes
from diffsensei.costs.stages import stage_costs

PAPER = load_preset("paper")


def test_sdxl_costs_what_is_known_of_it() -> None:
    passes = Passes(PAPER)
    plain = passes.unet(1024, None, False, False)
    # 2.57 billion parameters; 6 TFLOP at 1024 pixels by diffusers' own benchmark, which leaves attention out.
    assert sum(passes.unet_weights(None, conditioned=False)) == pytest.approx(2.567e9, rel=1e-3)
    assert 6.0e12 < plain.forward < 7.0e12
    small = passes.unet(256, PAPER.training.stage1, True, True)
    assert small.backward == pytest.approx(2 * small.forward, rel=0.15)
    assert small.forward > passes.unet(256, None, False, False).forward


def test_llama_costs_two_operations_a_parameter_and_token() -> None:
    passes = Passes(PAPER)
    tokens = PAPER.model.adapter.max_caption_tokens + 2 * (64 + 2) + 4
    assert passes.llm_weights == pytest.approx(13e9, rel=0.02)
    assert passes.llm.forward == pytest.approx(2 * 13e9 * tokens, rel=0.1)


@pytest.mark.slow
def test_the_papers_first_stage_is_some_25_exaflop_and_fits_its_gpus() -> None:
    costs = {cost.name: cost for cost in stage_costs(PAPER, DataSize.of_mangazero(PAPER.data.buckets))}
    assert 24e6 < costs["stage1"].teraflop < 30e6
    assert max(cost.memory_bytes for cost in costs.values()) < 80 * 2**30
    assert costs["stage1"].memory_bytes > 18 * 2.9e9  # weights, gradients, moments, and the cast
    cached = load_preset("paper", ["data.cache.characters=true"])
    fewer = {cost.name: cost for cost in stage_costs(cached, DataSize.of_mangazero(PAPER.data.buckets))}
    assert fewer["stage1"].teraflop < costs["stage1"].teraflop
    assert fewer["features"].teraflop > costs["features"].teraflop


def test_steps_and_seeds_scale_the_cost() -> None:
    data = DataSize(100, 10, (1.0,), "a test")
    one = {cost.name: cost.teraflop for cost in stage_costs(load_preset("tiny"), data)}
    longer = load_preset("tiny", ["training.stage1.steps=2000", "evaluation.seeds=[0,1,2]"])
    two = {cost.name: cost.teraflop for cost in stage_costs(longer, data)}
    ratio = 2000 / load_preset("tiny").training.stage1.steps
    assert two["stage1"] == pytest.approx(ratio * one["stage1"])
    assert two["generate_stage1"] == pytest.approx(3 * one["generate_stage1"])
    assert two["pretrain"] == one["pretrain"]


def test_panels_are_counted_where_they_are_cut(tmp_path: Path) -> None:
    for name, sides in (("train", [64, 70, 64]), ("eval", [64])):
        (tmp_path / name).mkdir()
        pq.write_table(pa.table({"height": sides, "width": sides}), tmp_path / name / "panels.parquet")
    buckets = load_preset("tiny").data.buckets
    size = DataSize.counted(tmp_path, buckets)
    assert (size.panels, size.held_out) == (3, 1)
    assert sum(size.shares) == pytest.approx(1.0)
    assert len(size.shares) == len(buckets.tiers)


def test_an_unknown_gpu_is_refused() -> None:
    with pytest.raises(ValueError, match="known: a100"):
        find_gpu("h300")
