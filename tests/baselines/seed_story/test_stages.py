"""SEED-Story trained and drawn on a small world: what learns, what is fed back, whose captions are read."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from diffsensei.baselines.seed_story import language, stages
from diffsensei.baselines.seed_story.detokenizer import FeatureResampler
from diffsensei.baselines.seed_story.language import with_lora
from diffsensei.baselines.seed_story.method import NO_FIRST_STAGE, SeedStory
from diffsensei.baselines.seed_story.stages import (
    build_seed_story,
    read_language,
    train_seed_story,
    train_seed_story_language,
)
from diffsensei.config.baselines import SeedStoryConfig
from diffsensei.config.presets import tiny
from diffsensei.foundations.loading import load_llm
from tests.baselines.asked import Asked, Person
from tests.baselines.trained import (
    TEXT,
    as_on_a_gpu,
    assert_drawn_alike,
    assert_recomputing_trains_alike,
    assert_resumed_ends_alike,
    assert_two_processes_train_alike,
    common,
    run_pretrain,
    weights_in,
)
from tests.training.conftest import forget_precision
from tests.training.launched_stages import RUNTIME, launch

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def recipe(world: Any, experiment: Any) -> SeedStoryConfig:
    config = tiny().baselines.seed_story
    stage = experiment.training.pretrain.model_dump()
    sizes = {"dim": 16, "depth": 1, "heads": 2, "head_dim": 8, "num_queries": 4}
    return config.replaced(
        visual_encoder=world.foundations["clip_image_encoder"],
        llm=world.foundations["llm"],
        language=config.language.replaced(
            num_slots=4, resampler_heads=2, lora_rank=2, max_written_tokens=4
        ).model_dump(),
        resampler=sizes,
        window=2,
        language_training=stage,
        detokenizer_training=stage,
        sampling=config.sampling.replaced(steps=2).model_dump(),
    )


def first_stage(recipe: SeedStoryConfig) -> dict[str, Any]:
    names = ("visual_encoder", "llm", "language", "window")
    return {"stage": recipe.language_training} | {name: getattr(recipe, name) for name in names}


def second_stage(recipe: SeedStoryConfig) -> dict[str, Any]:
    named = {name: getattr(recipe, name) for name in ("visual_encoder", "resampler", "window", "drop_rate")}
    return {"stage": recipe.detokenizer_training, "max_caption_tokens": recipe.language.max_caption_tokens} | named


@pytest.fixture(scope="module")
def outputs(
    world: Any, experiment: Any, recipe: SeedStoryConfig, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    base = run_pretrain(world, experiment, tmp_path_factory.mktemp("pretrain"))
    language, trained = (tmp_path_factory.mktemp(name) for name in ("language", "detokenizer"))
    train_seed_story_language(**first_stage(recipe), **world.named("vae"), **common(world, language))
    train_seed_story(
        **second_stage(recipe),
        pretrain=base,
        language=language / "output",
        **world.named("vae", *TEXT),
        **common(world, trained),
    )
    return {"pretrain": base, "language": language / "output", "trained": trained / "output"}


@pytest.fixture(scope="module", params=["own", "given"])
def method(
    request: pytest.FixtureRequest, world: Any, experiment: Any, recipe: SeedStoryConfig, outputs: dict[str, Path]
) -> SeedStory:
    foundations = experiment.model.foundations.replaced(**world.named(*TEXT, "vae"))
    return build_seed_story(
        recipe, request.param, foundations, outputs["language"], outputs["trained"], torch.device("cpu")
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("first", "other"):
        Image.fromarray(rng.integers(0, 256, (30, 20), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path


PAGE = (
    Asked("0", "a boy runs", given="first.png"),
    Asked("1", "a girl laughs", seed=1),
    Asked("2", "rain over the town", 16, 32, seed=2),
    Asked("3", "a boy laughs", seed=3),
)


def draw(method: SeedStory, recipe: SeedStoryConfig, folder: Path, page: tuple[Asked, ...]) -> dict[str, bytes]:
    return {name: image.tobytes() for name, image in method.generate([page], folder, recipe.sampling)}


def test_interrupted_both_stages_end_with_the_same_bytes(
    world: Any, recipe: SeedStoryConfig, outputs: dict[str, Path], tmp_path: Path
) -> None:
    language = partial(train_seed_story_language, **first_stage(recipe), **world.named("vae"))
    assert_resumed_ends_alike(language, world, outputs["language"].parent, tmp_path / "language")
    folders = {name: outputs[name] for name in ("pretrain", "language")}
    drawing = partial(train_seed_story, **second_stage(recipe), **folders, **world.named("vae", *TEXT))
    assert_resumed_ends_alike(drawing, world, outputs["trained"].parent, tmp_path / "drawing")


def test_recomputed_activations_give_the_same_weights(
    world: Any, recipe: SeedStoryConfig, outputs: dict[str, Path], tmp_path: Path
) -> None:
    """LoRA's dropout included, which must fall on the same values the second time."""
    language = partial(train_seed_story_language, **first_stage(recipe), **world.named("vae"))
    assert_recomputing_trains_alike(language, world, outputs["language"].parent, tmp_path / "language")
    folders = {name: outputs[name] for name in ("pretrain", "language")}
    drawing = partial(train_seed_story, **second_stage(recipe), **folders, **world.named("vae", *TEXT))
    assert_recomputing_trains_alike(drawing, world, outputs["trained"].parent, tmp_path / "drawing")


def test_a_frozen_language_model_is_held_in_bfloat16_and_trains_alike(
    world: Any, recipe: SeedStoryConfig, outputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights published in bfloat16: held in float32, autocast would make the same of them at every use."""
    held: list[set[torch.dtype]] = []
    low = {"mixed_precision": "bf16"}

    def watched(path: str, dtype: torch.dtype = torch.float32) -> Any:
        loaded = load_llm(path, dtype=dtype)
        held.append({parameter.dtype for parameter in loaded.model.parameters()})
        return loaded

    def in_float32(path: str, dtype: torch.dtype = torch.float32) -> Any:
        loaded = watched(path, torch.float32)
        for parameter in loaded.model.parameters():
            parameter.data = parameter.data.bfloat16().float()
        return loaded

    added: dict[str, torch.Tensor] = {}

    def with_the_same_lora(llm: Any, config: Any) -> Any:
        """peft draws what it adds to a bfloat16 model in bfloat16: other numbers."""
        made = with_lora(llm, config)
        for name, parameter in made.named_parameters():
            parameter.data.copy_(added.setdefault(name, parameter.data.clone()))
        return made

    def trained(folder: str) -> dict[str, bytes]:
        forget_precision()
        arguments = common(world, tmp_path / folder) | low
        train_seed_story_language(**first_stage(recipe), **world.named("vae"), **arguments)
        return weights_in(tmp_path / folder / "output")

    monkeypatch.setattr(language, "with_lora", with_the_same_lora)
    monkeypatch.setattr(stages, "load_llm", watched)
    narrow = trained("narrow")
    monkeypatch.setattr(stages, "load_llm", in_float32)
    assert trained("wide") == narrow
    assert held == [{torch.bfloat16}, {torch.float32}]
    saved = load_file(tmp_path / "narrow" / "output" / "llm" / "model.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {torch.float32}, "what was learnt is less than it rounds"

    before = {"pretrain": outputs["pretrain"], "language": tmp_path / "narrow" / "output"}
    arguments = common(world, tmp_path / "drawing") | low
    train_seed_story(**second_stage(recipe), **before, **world.named("vae", *TEXT), **arguments)
    assert {tensor.dtype for tensor in load_file(tmp_path / "drawing" / "output" / UNET).values()} == {torch.float32}


@pytest.mark.slow
def test_two_processes_train_alike(
    world: Any, recipe: SeedStoryConfig, outputs: dict[str, Path], tmp_path: Path
) -> None:
    language = partial(train_seed_story_language, **first_stage(recipe), **world.named("vae"))
    assert_two_processes_train_alike(language, world, outputs["language"].parent, tmp_path / "language")
    folders = {name: outputs[name] for name in ("pretrain", "language")}
    drawing = partial(train_seed_story, **second_stage(recipe), **folders, **world.named("vae", *TEXT))
    assert_two_processes_train_alike(drawing, world, outputs["trained"].parent, tmp_path / "drawing")


@pytest.mark.slow
def test_a_language_model_in_bfloat16_can_be_shared_out(world: Any, recipe: SeedStoryConfig, tmp_path: Path) -> None:
    """Trained weights in float32 lie beside frozen ones in bfloat16 in every part."""
    entry = "diffsensei.baselines.seed_story.stages:train_seed_story_language"
    shard = RUNTIME.replaced(parallelism="shard")
    losses = []
    for name, num_processes, runtime in (("whole", 1, RUNTIME), ("parts", 2, shard)):
        more = {"mixed_precision": "bf16", "num_processes": num_processes, "runtime": runtime}
        arguments = first_stage(recipe) | world.named("vae") | common(world, tmp_path / name) | more
        launch(tmp_path / name, num_processes, [(entry, arguments)])
        lines = (tmp_path / name / "output" / "logs" / "metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["train/loss"] for line in lines])
        saved = load_file(tmp_path / name / "output" / "llm" / "model.safetensors")
        assert {tensor.dtype for tensor in saved.values()} == {torch.float32}
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_it_draws_in_bfloat16(
    world: Any,
    experiment: Any,
    recipe: SeedStoryConfig,
    outputs: dict[str, Path],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    foundations = experiment.model.foundations.replaced(**world.named(*TEXT, "vae"))

    def drawn() -> dict[str, Image.Image]:
        weights = outputs["language"], outputs["trained"]
        method = build_seed_story(recipe, "given", foundations, *weights, torch.device("cpu"))
        return dict(method.generate([PAGE], folder, recipe.sampling))

    full = drawn()
    as_on_a_gpu(monkeypatch, stages)
    assert_drawn_alike(drawn(), full, tolerance=8.0)


def test_the_language_learns_and_the_frozen_parts_stay(
    world: Any, recipe: SeedStoryConfig, outputs: dict[str, Path]
) -> None:
    before = load_file(Path(world.foundations["llm"]) / "model.safetensors")
    after = load_file(outputs["language"] / "llm" / "model.safetensors")
    assert before.keys() == after.keys()
    assert not torch.equal(before["lm_head.weight"], after["lm_head.weight"])
    read_language(outputs["language"], recipe.language.max_caption_tokens)


def test_the_detokenizer_trains_keys_and_values_alone(outputs: dict[str, Path]) -> None:
    before, after = (load_file(outputs[stage] / UNET) for stage in ("pretrain", "trained"))
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {key for key in before if ".to_k." in key or ".to_v." in key}


def test_pages_are_told_in_order(method: SeedStory, recipe: SeedStoryConfig, folder: Path) -> None:
    plain = draw(method, recipe, folder, PAGE)
    assert set(plain) == {"1", "2", "3"}
    assert NO_FIRST_STAGE in method.deviations
    given = draw(method, recipe, folder, (replace(PAGE[0], given="other.png"), *PAGE[1:]))
    assert given["1"] != plain["1"]
    later = draw(method, recipe, folder, (*PAGE[:3], replace(PAGE[3], seed=9)))
    assert [name for name in plain if later[name] != plain[name]] == ["3"]


def test_pages_drawn_side_by_side_do_not_mix(method: SeedStory, recipe: SeedStoryConfig, folder: Path) -> None:
    other = tuple(replace(panel, panel_id=f"other {panel.panel_id}", seed=panel.seed + 10) for panel in PAGE)
    (piece,) = method.pieces([PAGE, other], recipe.sampling)
    together = dict(method.generate(piece, folder, recipe.sampling))
    assert together.keys() == {f"{page}{number}" for page in ("", "other ") for number in (1, 2, 3)}
    for page in (PAGE, other):
        for name, image in method.generate([page], folder, recipe.sampling):
            difference = np.asarray(together[name], int) - np.asarray(image, int)
            assert abs(difference).max() <= 1, "float rounding of a larger batch"
    assert [len(piece) for piece in method.pieces([PAGE, other], recipe.sampling.replaced(batch_size=1))] == [1, 1]


def test_captions_count_only_where_they_are_given(method: SeedStory, recipe: SeedStoryConfig, folder: Path) -> None:
    plain = draw(method, recipe, folder, PAGE)
    retold = draw(method, recipe, folder, (*PAGE[:2], replace(PAGE[2], caption="a boy runs"), PAGE[3]))
    changed = {name for name in plain if retold[name] != plain[name]}
    assert changed == ({"2", "3"} if "caption" in method.consumes else set())


def test_boxes_have_no_influence_to_the_bit(method: SeedStory, recipe: SeedStoryConfig, folder: Path) -> None:
    person = Person((0.0, 0.0, 1.0, 1.0), "nowhere.png")
    boxed = tuple(replace(panel, characters=(person,), dialogs=(person.box,)) for panel in PAGE)
    assert draw(method, recipe, folder, boxed) == draw(method, recipe, folder, PAGE)


def test_published_sizes_of_the_detokenizers_resampler() -> None:
    with torch.device("meta"):
        published = FeatureResampler(
            feature_dim=4096,
            dim=1024,
            depth=4,
            heads=16,
            head_dim=64,
            num_queries=64,
            first_dim=768,
            second_dim=1280,
            pooled_dim=1280,
        )
    shapes = {name: tuple(tensor.shape) for name, tensor in published.state_dict().items()}
    assert shapes["latents"] == (1, 64, 1024)
    assert shapes["unet_proj_2.weight"] == (1280, 1024)
    assert shapes["unet_attnpool.positional_embedding"] == (65, 1024)
    assert round(sum(parameter.numel() for parameter in published.parameters()) / 1e6) == 61
