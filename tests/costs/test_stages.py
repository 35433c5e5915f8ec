"""The counts of the paper's sizes against figures that others published of the same networks."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diffsensei.config import ExperimentConfig, load_preset
from diffsensei.costs import annotation
from diffsensei.costs.counting import PassCost, count_weights
from diffsensei.costs.data_size import DataSize, Panels
from diffsensei.costs.detection import count_detection, detector_weights
from diffsensei.costs.gpus import find_gpu
from diffsensei.costs.networks import NotCounted, sizes
from diffsensei.costs.passes import Passes
from diffsensei.costs.stages import COSTS
from diffsensei.costs.workload import CAST_BYTES, FLOAT, HALF, STATE_BYTES, StageCost, weights_beside, weights_of
from tests.costs.workloads import few, workload

PAPER = load_preset("paper")
LLAMA = PAPER.model.foundations.llm


def count(config: ExperimentConfig, data: DataSize, *names: str) -> dict[str, StageCost]:
    work = workload(config, data)
    return {name: COSTS[name](work) for name in names}


def test_sdxl_costs_what_is_known_of_it() -> None:
    passes = Passes(PAPER)
    plain = passes.unet(1024, None, False, False)
    # 2.57 billion parameters; 6 TFLOP at 1024 pixels by diffusers' own benchmark, which leaves attention out.
    assert sum(count_weights(passes.network(None, False))) == pytest.approx(2.567e9, rel=1e-3)
    assert 6.0e12 < plain.forward < 7.0e12
    small = passes.unet(256, PAPER.training.stage1, True, True)
    assert small.backward == pytest.approx(2 * small.forward, rel=0.15)
    assert small.forward > passes.unet(256, None, False, False).forward


def test_transformers_cost_two_operations_a_parameter_and_token() -> None:
    passes = Passes(PAPER)
    tokens = PAPER.model.adapter.max_caption_tokens + 2 * (64 + 2) + 4
    assert sum(count_weights(passes.llm)) == pytest.approx(13e9, rel=0.02)
    assert passes.adapter_prompt.forward == pytest.approx(2 * 13e9 * tokens, rel=0.1)
    assert passes.prompt(LLAMA, 2 * tokens).forward > 2 * passes.adapter_prompt.forward  # attention grows faster
    # ViT-H/14: 0.63 billion parameters, 257 tokens; SDXL's two text encoders: 0.085 + 0.63 billion beside embeddings.
    assert passes.image(PAPER.model.foundations.clip_image_encoder) == pytest.approx(2 * 0.63e9 * 257, rel=0.1)
    assert passes.captions == pytest.approx(2 * (0.085e9 + 0.63e9) * 77, rel=0.1)


def test_a_conditional_detr_has_its_published_size() -> None:
    assert detector_weights("ragavsachdeva/magi") == pytest.approx(43.2e6, rel=0.01)
    small, large = (count_detection("ragavsachdeva/magi", side, 2 * side) for side in (100, 1000))
    assert small == large, "its processor gives every page one size"


@pytest.mark.slow
def test_the_papers_first_stage_is_some_25_exaflop_and_fits_its_gpus() -> None:
    costs = count(PAPER, DataSize.of_mangazero(PAPER.data.buckets), *COSTS)
    assert 24e6 < costs["stage1"].teraflop < 31e6
    assert max(cost.memory_bytes for cost in costs.values()) < 80 * 2**30
    assert costs["stage1"].memory_bytes > 18 * 2.9e9  # weights, gradients, moments, and the cast
    cached = load_preset("paper", ["data.cache.characters=true", "data.cache.text=true"])
    fewer = count(cached, DataSize.of_mangazero(PAPER.data.buckets), "features", "stage1")
    assert fewer["stage1"].teraflop < costs["stage1"].teraflop
    assert fewer["features"].teraflop > costs["features"].teraflop
    # The language model's 13 billion parameters in bfloat16 are on the GPU that draws.
    adapter = costs["generate_diffsensei"].memory_bytes - costs["generate_stage1"].memory_bytes
    assert adapter == pytest.approx(2 * 13e9, rel=0.02)


def test_steps_seeds_and_pages_scale_the_cost() -> None:
    names = ("pretrain", "stage1", "generate_stage1")
    one = count(load_preset("tiny"), few({5: 2}), *names)
    longer = load_preset("tiny", ["training.stage1.steps=2000", "evaluation.seeds=[0,1,2]"])
    two = count(longer, few({5: 2}), *names)
    ratio = 2000 / load_preset("tiny").training.stage1.steps
    assert two["stage1"].teraflop == pytest.approx(ratio * one["stage1"].teraflop)
    assert two["generate_stage1"].teraflop == pytest.approx(3 * one["generate_stage1"].teraflop)
    assert two["pretrain"] == one["pretrain"]
    # The first panel of a page is given: 2 of 5 and 1 of 9 leave 8 each.
    assert count(load_preset("tiny"), few({9: 1}), "generate_stage1") == {"generate_stage1": one["generate_stage1"]}


def test_activations_computed_again_cost_time_and_no_memory() -> None:
    kept = count(load_preset("tiny"), few({5: 2}), "stage1")["stage1"]
    again = count(load_preset("tiny", ["runtime.gradient_checkpointing=all"]), few({5: 2}), "stage1")["stage1"]
    assert again.teraflop > 1.2 * kept.teraflop
    assert again.memory_bytes < kept.memory_bytes


def test_sharded_weights_take_each_process_its_part_and_what_is_gathered() -> None:
    passes = Passes(PAPER)
    unet = weights_of(passes.network(PAPER.training.stage1, True), FLOAT)
    # 2.91 billion parameters in float32 with gradients and moments; the largest block of SDXL has 0.06 billion.
    assert unet.held_bytes(STATE_BYTES) == pytest.approx(43.3 * 2**30, rel=0.01)
    eighth = unet.held_bytes(STATE_BYTES) / 8
    assert 0.1 * 2**30 < unet.sharded_bytes(STATE_BYTES, 8) - eighth < 0.5 * 2**30
    both = unet + weights_of(passes.llm, HALF)
    gathered = both.sharded_bytes(STATE_BYTES, 8) - both.held_bytes(STATE_BYTES) / 8
    assert gathered == pytest.approx(1.8 * 2**30, rel=0.15)  # embedding, head and two layers of a 13B Llama
    beside = weights_beside(passes.llm)
    assert beside.sharded_bytes(STATE_BYTES, 8) == beside.held_bytes(STATE_BYTES) == pytest.approx(26e9, rel=0.02)


def test_sharded_training_holds_less_and_computes_the_same() -> None:
    stage, unet = PAPER.training.stage1, weights_of(Passes(PAPER).network(PAPER.training.stage1, True), FLOAT)
    whole, parts = (
        workload(load_preset("paper", [f"runtime.parallelism={way}"])).trained(stage, lambda _: PassCost(1e12), unet)
        for way in ("replicate", "shard")
    )
    assert whole.teraflop == parts.teraflop
    assert (whole.memory_bytes, parts.memory_bytes) == (
        unet.held_bytes(STATE_BYTES + CAST_BYTES),
        unet.sharded_bytes(STATE_BYTES, PAPER.training.num_processes),
    )


def test_captions_cost_the_panels_there_are_and_nothing_where_a_server_writes_them() -> None:
    config = load_preset("paper")
    work = workload(config, few({5: 2}))
    found = annotation.COSTS["caption"](work)
    # LLaVA-NeXT 34B on four tiles and the whole panel (576 patches each), the question and the longest answer.
    tokens = 5 * 576 + annotation.PROMPT_TOKENS + config.data.annotation.captioner.max_new_tokens
    assert found.teraflop == pytest.approx(100 * 2 * 34e9 * tokens / 1e12, rel=0.1)
    assert found.memory_bytes == pytest.approx(2 * 34.8e9, rel=0.03)
    served = load_preset(
        "paper",
        ["data.annotation.captioner.backend=openai", "data.annotation.captioner.server=http://127.0.0.1:8000/v1"],
    )
    with pytest.raises(NotCounted, match="a server"):
        annotation.COSTS["caption"](workload(served, few({5: 2})))
    detected = annotation.COSTS["detect"](work)
    assert detected.teraflop > 10 * count_detection(config.data.annotation.detector, 1200, 1600) / 1e12


def test_sizes_that_are_not_known_are_not_guessed() -> None:
    with pytest.raises(NotCounted, match="sizes of somebody/unet are not known; name a folder"):
        sizes("somebody/unet")


def test_panels_are_counted_where_they_are_cut(tmp_path: Path) -> None:
    for name, sides, pages in (("train", [64, 70, 64], ["a", "a", "b"]), ("eval", [64], ["c"])):
        (tmp_path / name).mkdir()
        rows = pa.table({"page_id": pages, "height": sides, "width": sides})
        pq.write_table(rows, tmp_path / name / "panels.parquet")
    buckets = load_preset("tiny").data.buckets
    size = DataSize.counted(tmp_path, buckets)
    assert (size.training.pages, size.held_out.pages) == ({2: 1, 1: 1}, {1: 1})
    assert size.training.count == 3
    assert sum(size.training.shares) == pytest.approx(1.0)
    assert len(size.training.shares) == len(buckets.tiers)


def test_pages_are_counted_where_they_are_annotated_and_assumed_where_not(tmp_path: Path) -> None:
    frame = {"bbox": [0, 0, 300, 300], "caption": "", "characters": [], "dialogs": []}
    pages = [
        {
            "image_path": f"s/c/{number}.png",
            "frames": [frame] * frames,
            "meta": {"file": "x.png", "width": 600, "height": 600},
        }
        for number, frames in enumerate((2, 3, 3, 0))
    ]
    (tmp_path / "annotations.json").write_text(json.dumps([*pages, {"broken": True}]))
    found = DataSize.annotated(tmp_path / "annotations.json", PAPER.data.buckets, None)
    assert found.held_out.pages == {2: 1, 3: 2, 10: 1}
    assert found.held_out.shares[0] == 1.0
    assert "9.9 a page assumed" in found.basis
    apart = DataSize.annotated(tmp_path / "annotations.json", PAPER.data.buckets, PAPER.data.split)
    assert sum(apart.held_out.pages.values()) == PAPER.data.split.eval_pages_per_series


def test_mangazero_is_the_papers() -> None:
    data = DataSize.of_mangazero(PAPER.data.buckets)
    assert data.training.count + data.held_out.count == pytest.approx(427_147, abs=1)
    assert sum(data.held_out.pages.values()) == 96


def test_earlier_panels_are_counted_by_place() -> None:
    panels = Panels({3: 2, 1: 4}, (1.0,))
    assert panels.earlier(2, given=True) == {1: 2, 2: 2}
    assert panels.earlier(1, given=False) == {0: 6, 1: 4}


def test_an_unknown_gpu_is_refused() -> None:
    with pytest.raises(ValueError, match="known: a100"):
        find_gpu("h300")
