"""AR-LDM trained and drawn on a small world: everything but the autoencoder learns; panels follow one another."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diffsensei.baselines.ar_ldm import stages
from diffsensei.baselines.ar_ldm.blip import load_grounded_captions
from diffsensei.baselines.ar_ldm.history import HistoryEncoder
from diffsensei.baselines.ar_ldm.method import ArLdm
from diffsensei.baselines.ar_ldm.objective import ArLdmObjective
from diffsensei.baselines.ar_ldm.stages import build_ar_ldm, train_ar_ldm
from diffsensei.baselines.stable_diffusion import load_sd_unet
from diffsensei.config.baselines import ArLdmConfig, StableDiffusionParts
from diffsensei.config.presets import tiny
from diffsensei.foundations.loading import load_text_encoder
from diffsensei.training.story_batch import StoryBatch
from tests.baselines.asked import Asked, Person
from tests.baselines.trained import (
    as_on_a_gpu,
    assert_drawn_alike,
    assert_recomputing_trains_alike,
    assert_resumed_ends_alike,
    assert_two_processes_train_alike,
    common,
)


@pytest.fixture(scope="module")
def recipe(experiment: Any) -> ArLdmConfig:
    config = tiny().baselines.ar_ldm
    sizes = {"image_side": 16, "patch_side": 8, "vision_dim": 16, "num_layers": 1, "num_heads": 2}
    return config.replaced(
        blip=config.blip.replaced(**sizes).model_dump(),
        caption_length=6,
        training=experiment.training.pretrain.model_dump(),
        sampling=config.sampling.replaced(steps=2).model_dump(),
    )


def training(recipe: ArLdmConfig) -> dict[str, Any]:
    """The training's arguments of the method's own section."""
    names = ("blip", "window", "caption_length", "drop_rate")
    return {"stage": recipe.training} | {name: getattr(recipe, name) for name in names}


@pytest.fixture(scope="module")
def root(world: Any, recipe: ArLdmConfig, base: StableDiffusionParts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with workspace and output of a training."""
    root = tmp_path_factory.mktemp("ar_ldm")
    train_ar_ldm(**training(recipe), base=base, **common(world, root))
    return root


@pytest.fixture(scope="module")
def method(recipe: ArLdmConfig, base: StableDiffusionParts, root: Path) -> ArLdm:
    return build_ar_ldm(recipe, base, root / "output", torch.device("cpu"))


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


def draw(method: ArLdm, recipe: ArLdmConfig, folder: Path, page: tuple[Asked, ...]) -> dict[str, bytes]:
    return {name: image.tobytes() for name, image in method.generate([page], folder, recipe.sampling)}


def test_a_panel_follows_those_before_it_and_not_those_after(method: ArLdm, recipe: ArLdmConfig, folder: Path) -> None:
    plain = draw(method, recipe, folder, PAGE)
    assert set(plain) == {"1", "2", "3"}
    later = draw(method, recipe, folder, (*PAGE[:3], replace(PAGE[3], caption="rain")))
    assert [name for name in plain if later[name] != plain[name]] == ["3"]
    given = draw(method, recipe, folder, (replace(PAGE[0], given="other.png"), *PAGE[1:]))
    assert all(given[name] != plain[name] for name in plain)
    assert set(draw(method, recipe, folder, PAGE[1:])) == {"1", "2", "3"}


def test_boxes_have_no_influence_to_the_bit(method: ArLdm, recipe: ArLdmConfig, folder: Path) -> None:
    person = Person((0.0, 0.0, 1.0, 1.0), "nowhere.png")
    boxed = tuple(replace(panel, characters=(person,), dialogs=(person.box,)) for panel in PAGE)
    assert draw(method, recipe, folder, boxed) == draw(method, recipe, folder, PAGE)


def test_interrupted_it_ends_with_the_same_bytes(
    world: Any, recipe: ArLdmConfig, base: StableDiffusionParts, root: Path, tmp_path: Path
) -> None:
    assert_resumed_ends_alike(partial(train_ar_ldm, **training(recipe), base=base), world, root, tmp_path / "again")


def test_recomputed_activations_give_the_same_weights(
    world: Any, recipe: ArLdmConfig, base: StableDiffusionParts, root: Path, tmp_path: Path
) -> None:
    train = partial(train_ar_ldm, **training(recipe), base=base)
    assert_recomputing_trains_alike(train, world, root, tmp_path / "again")


@pytest.mark.slow
def test_two_processes_train_alike(
    world: Any, recipe: ArLdmConfig, base: StableDiffusionParts, root: Path, tmp_path: Path
) -> None:
    assert_two_processes_train_alike(partial(train_ar_ldm, **training(recipe), base=base), world, root, tmp_path)


def test_it_draws_in_bfloat16(
    method: ArLdm,
    recipe: ArLdmConfig,
    base: StableDiffusionParts,
    root: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    as_on_a_gpu(monkeypatch, stages)
    low = build_ar_ldm(recipe, base, root / "output", torch.device("cpu"))
    images = [dict(each.generate([PAGE], folder, recipe.sampling)) for each in (low, method)]
    assert_drawn_alike(*images, tolerance=8.0)


@pytest.fixture(scope="module")
def objective(world: Any, recipe: ArLdmConfig, base: StableDiffusionParts) -> ArLdmObjective:
    text = load_text_encoder(world.foundations["text_encoder"])
    width = text.model.config.hidden_size
    encoder = HistoryEncoder(text, load_grounded_captions(recipe.blip, width, text.tokenizer), recipe.caption_length)
    return ArLdmObjective(load_sd_unet(base.unet, width), encoder, 0.0, 0.5).eval()


def batch(**changes: Any) -> StoryBatch:
    generator = torch.Generator().manual_seed(0)
    values: dict[str, Any] = {
        "moments": torch.randn(2, 8, 8, 8, generator=generator),
        "captions": ("a boy", "a girl"),
        "earlier_images": torch.randint(0, 256, (2, 4, 16, 16), generator=generator).to(torch.uint8),
        "earlier_captions": (("rain",), ("rain", "a boy")),
        "earlier_exists": torch.tensor([[True, False, False, False], [True, True, False, False]]),
        "dialog_boxes": torch.zeros(2, 0, 4),
        "dialog_exists": torch.zeros(2, 0, dtype=torch.bool),
        "time_ids": torch.zeros(2, 6),
    }
    return StoryBatch(**values | changes)


def loss(objective: ArLdmObjective, of: StoryBatch) -> torch.Tensor:
    return objective(of, torch.Generator().manual_seed(1))["loss"]


def test_the_loss_sees_the_history_and_nothing_that_comes_later(objective: ArLdmObjective) -> None:
    plain = loss(objective, batch())
    images = batch().earlier_images.clone()
    images[:, 2:] = 255 - images[:, 2:]
    assert torch.equal(loss(objective, batch(earlier_images=images)), plain)
    images[:, 0] = 255 - images[:, 0]
    assert not torch.equal(loss(objective, batch(earlier_images=images)), plain)
    swapped = (("rain",), ("a boy", "rain"))
    assert not torch.equal(loss(objective, batch(earlier_captions=swapped)), plain)


def test_gradients_reach_everything_but_the_autoencoder(objective: ArLdmObjective) -> None:
    objective.zero_grad()
    loss(objective, batch()).backward()
    without = {name for name, parameter in objective.named_parameters() if parameter.grad is None}
    # BLIP's pooled vector, and CLIP's position of nothing, are no part of the features.
    assert all("pooler" in name or "post_layernorm" in name for name in without), without
    parts = ("unet.", "encoder.text_model.", "encoder.pairs.vision.", "encoder.pairs.text.", "encoder.types.")
    for part in parts:
        reached = [p.grad for name, p in objective.named_parameters() if name.startswith(part) and p.grad is not None]
        assert sum(float(gradient.abs().sum()) for gradient in reached) > 0, part
