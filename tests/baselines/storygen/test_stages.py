"""StoryGen trained and drawn on a small world: two stages, three branches, panel after panel."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from diffsensei.baselines.storygen.method import StoryGen
from diffsensei.baselines.storygen.objective import EarlierPanels, StoryGenObjective, draw_count
from diffsensei.baselines.storygen.stages import build_storygen, train_storygen, train_storygen_single
from diffsensei.config.baselines import StableDiffusionParts, StoryGenConfig, StoryGenDrops
from diffsensei.config.presets import tiny
from diffsensei.training.story_batch import StoryBatch
from tests.baselines.asked import Asked, Person
from tests.baselines.trained import (
    assert_recomputing_trains_alike,
    assert_resumed_ends_alike,
    assert_two_processes_train_alike,
    common,
)


@pytest.fixture(scope="module")
def recipe(experiment: Any) -> StoryGenConfig:
    config = tiny().baselines.storygen
    stage = experiment.training.pretrain.model_dump()
    return config.replaced(
        context_side=16,
        single=stage,
        context=stage,
        sampling=config.sampling.replaced(steps=2).model_dump(),
    )


def first_stage(recipe: StoryGenConfig, base: StableDiffusionParts) -> dict[str, Any]:
    shared = {"drops": recipe.drops, "mask_dialogs": recipe.mask_dialogs, "max_dialogs": 4, "base": base}
    return {"stage": recipe.single} | shared


def second_stage(recipe: StoryGenConfig, base: StableDiffusionParts) -> dict[str, Any]:
    more = {"stage": recipe.context, "window": recipe.window, "context_side": recipe.context_side}
    return first_stage(recipe, base) | more


@pytest.fixture(scope="module")
def roots(
    world: Any, recipe: StoryGenConfig, base: StableDiffusionParts, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """The folders with workspace and output of both stages."""
    single, root = tmp_path_factory.mktemp("single"), tmp_path_factory.mktemp("context")
    train_storygen_single(**first_stage(recipe, base), **common(world, single))
    train_storygen(**second_stage(recipe, base), single=single / "output", **common(world, root))
    before, after = (
        load_file(folder / "output" / "unet" / "diffusion_pytorch_model.safetensors") for folder in (single, root)
    )
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if ".attn3." in name}
    return single, root


@pytest.fixture(scope="module")
def method(recipe: StoryGenConfig, base: StableDiffusionParts, roots: tuple[Path, Path]) -> StoryGen:
    return build_storygen(recipe, base, roots[1] / "output", torch.device("cpu"))


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
BARE = (Asked("a", "a girl runs", seed=5), Asked("b", "a boy", seed=6))


def draw(method: StoryGen, recipe: StoryGenConfig, folder: Path, *pages: tuple[Asked, ...]) -> dict[str, bytes]:
    return {name: image.tobytes() for name, image in method.generate(pages, folder, recipe.sampling)}


def test_a_panel_follows_those_before_it_and_not_those_after(
    method: StoryGen, recipe: StoryGenConfig, folder: Path
) -> None:
    plain = draw(method, recipe, folder, PAGE)
    assert set(plain) == {"1", "2", "3"}
    later = draw(method, recipe, folder, (*PAGE[:3], replace(PAGE[3], caption="night")))
    assert [name for name in plain if later[name] != plain[name]] == ["3"]
    middle = draw(method, recipe, folder, (*PAGE[:2], replace(PAGE[2], caption="night"), PAGE[3]))
    assert [name for name in plain if middle[name] != plain[name]] == ["2", "3"]
    given = draw(method, recipe, folder, (replace(PAGE[0], given="other.png"), *PAGE[1:]))
    assert all(given[name] != plain[name] for name in plain)


def test_boxes_have_no_influence_to_the_bit(method: StoryGen, recipe: StoryGenConfig, folder: Path) -> None:
    assert method.consumes == {"caption", "other_panels", "given_panel"}
    person = Person((0.0, 0.0, 1.0, 1.0), "nowhere.png")
    boxed = tuple(replace(panel, characters=(person,), dialogs=((0.0, 0.0, 1.0, 1.0),)) for panel in PAGE)
    assert draw(method, recipe, folder, boxed) == draw(method, recipe, folder, PAGE)


def test_pages_do_not_mix_and_one_without_a_given_panel_begins_by_itself(
    method: StoryGen, recipe: StoryGenConfig, folder: Path
) -> None:
    alone = dict(method.generate([PAGE], folder, recipe.sampling))
    for name, image in method.generate([PAGE, BARE], folder, recipe.sampling):
        if name in alone:
            difference = np.abs(np.asarray(image).astype(int) - np.asarray(alone[name]).astype(int))
            assert difference.max() <= 1, "float rounding of a larger batch"
    assert set(draw(method, recipe, folder, BARE)) == {"a", "b"}


@pytest.mark.parametrize("stage", ["single", "context"])
def test_interrupted_it_ends_with_the_same_bytes(
    world: Any,
    recipe: StoryGenConfig,
    base: StableDiffusionParts,
    roots: tuple[Path, Path],
    tmp_path: Path,
    stage: str,
) -> None:
    if stage == "single":
        train, root = partial(train_storygen_single, **first_stage(recipe, base)), roots[0]
    else:
        train, root = partial(train_storygen, single=roots[0] / "output", **second_stage(recipe, base)), roots[1]
    assert_resumed_ends_alike(train, world, root, tmp_path / "again")


def test_recomputed_activations_give_the_same_weights(
    world: Any, recipe: StoryGenConfig, base: StableDiffusionParts, roots: tuple[Path, Path], tmp_path: Path
) -> None:
    train = partial(train_storygen, single=roots[0] / "output", **second_stage(recipe, base))
    assert_recomputing_trains_alike(train, world, roots[1], tmp_path / "again")


@pytest.mark.slow
def test_two_processes_train_alike(
    world: Any, recipe: StoryGenConfig, base: StableDiffusionParts, roots: tuple[Path, Path], tmp_path: Path
) -> None:
    single = partial(train_storygen_single, **first_stage(recipe, base))
    assert_two_processes_train_alike(single, world, roots[0], tmp_path / "single")
    context = partial(train_storygen, single=roots[0] / "output", **second_stage(recipe, base))
    assert_two_processes_train_alike(context, world, roots[1], tmp_path / "context")


def test_the_last_panels_are_read_and_what_is_missing_is_blank() -> None:
    images = torch.arange(2 * 3).view(2, 3, 1, 1).expand(2, 3, 2, 2).to(torch.uint8)
    exists = torch.tensor([[True, True, True], [True, False, False]])
    nothing = torch.zeros(2, 0)
    batch = StoryBatch(
        moments=nothing,
        captions=("x", "y"),
        earlier_images=images,
        earlier_captions=(("p", "q", "r"), ("s",)),
        earlier_exists=exists,
        dialog_boxes=nothing,
        dialog_exists=nothing,
        time_ids=nothing,
    )
    earlier = EarlierPanels.last(batch, 2)
    assert earlier.captions == (("q", "r"), ("", "s"))
    assert earlier.exists.tolist() == [[True, True], [False, True]]
    assert earlier.images[:, :, 0, 0].tolist() == [[1, 2], [0, 3]]
    dropped = earlier.without(torch.tensor([True, False]))
    assert dropped.captions == (("", ""), ("", "s"))
    assert dropped.exists.tolist() == [[False, False], [False, True]]


def test_counts_come_at_their_rates() -> None:
    drops = StoryGenDrops(text_rate=0.05, context_rate=0.1, all_rate=0.3, all_but_one_rate=0.3)
    generator = torch.Generator().manual_seed(0)
    counts = [draw_count(drops, 3, generator) for _ in range(3000)]
    assert [counts.count(n) / 3000 for n in (3, 2, 1)] == pytest.approx([0.3, 0.3, 0.4], abs=0.03)


def test_masked_dialogs_teach_nothing(world: Any, recipe: StoryGenConfig, base: StableDiffusionParts) -> None:
    """A panel that is one dialog has no loss; unmasked it has."""
    from diffsensei.baselines.stable_diffusion import load_sd_unet
    from diffsensei.baselines.storygen.context import add_context
    from diffsensei.foundations.loading import load_text_encoder

    text = load_text_encoder(world.foundations["text_encoder"])
    unet = load_sd_unet(base.unet, text.model.config.hidden_size)
    add_context(unet)
    batch = StoryBatch(
        moments=torch.zeros(1, 8, 8, 8),
        captions=("a boy",),
        earlier_images=torch.zeros(1, 3, 16, 16, dtype=torch.uint8),
        earlier_captions=((),),
        earlier_exists=torch.zeros(1, 3, dtype=torch.bool),
        dialog_boxes=torch.tensor([[[0.0, 0.0, 1.0, 1.0]]]),
        dialog_exists=torch.tensor([[True]]),
        time_ids=torch.zeros(1, 6),
    )
    losses = [
        float(
            StoryGenObjective(unet, text, recipe.drops, 0.5, mask_dialogs=masked)(
                batch, torch.Generator().manual_seed(0)
            )["loss"].detach()
        )
        for masked in (True, False)
    ]
    assert losses[0] == 0.0
    assert losses[1] > 0.1
