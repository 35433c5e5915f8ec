"""MS-Diffusion trained and drawn on a small world: what learns, what stays, what it consumes."""

import copy
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diffsensei.baselines.ms_diffusion import stages
from diffsensei.baselines.ms_diffusion.grounding import GroundingResampler
from diffsensei.baselines.ms_diffusion.method import FROZEN, OWN_CROPS, RELEASED, TRAINED, MsDiffusion
from diffsensei.baselines.ms_diffusion.network import adapter_parameters, add_subjects, load_adapter, trains_sdxl
from diffsensei.baselines.ms_diffusion.objective import sample_drops
from diffsensei.baselines.ms_diffusion.stages import build_ms_diffusion, train_ms_diffusion
from diffsensei.config.baselines import DropConfig, MsDiffusionConfig
from diffsensei.config.presets import tiny
from diffsensei.config.schema import UNetConfig
from diffsensei.models.conditions import Conditions, Layout
from diffsensei.models.unet import build_unet, load_unet, predict_noise
from diffsensei.training.trained_parameters import select_trained
from tests.baselines.asked import Asked, Person
from tests.baselines.trained import (
    TEXT,
    as_on_a_gpu,
    assert_drawn_alike,
    assert_resumed_ends_alike,
    assert_two_processes_train_alike,
    common,
    run_pretrain,
)


@pytest.fixture(scope="module")
def recipe(world: Any, experiment: Any) -> MsDiffusionConfig:
    config = tiny().baselines.ms_diffusion
    steps = experiment.training.pretrain.model_dump()
    return config.replaced(
        clip_image_encoder=world.foundations["clip_image_encoder"],
        grounding=config.grounding.replaced(dim=16, depth=1, heads=2, head_dim=8, num_queries=2).model_dump(),
        training=config.training.replaced(**steps).model_dump(),
        dialogs_training=config.dialogs_training.replaced(**steps).model_dump(),
        sampling=config.sampling.replaced(steps=2).model_dump(),
    )


@pytest.fixture(scope="module")
def pretrained(world: Any, experiment: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_pretrain(world, experiment, tmp_path_factory.mktemp("pretrain"))


def training(dialogs: str, world: Any, experiment: Any, recipe: MsDiffusionConfig, pretrained: Path) -> "partial[None]":
    """Trains the row without dialogs, or with them; lacks what `common` has."""
    return partial(
        train_ms_diffusion,
        stage=recipe.training if dialogs == "none" else recipe.dialogs_training,
        dialogs=dialogs,
        clip_image_encoder=recipe.clip_image_encoder,
        phrase=recipe.phrase,
        grounding=recipe.grounding,
        drops=recipe.drops,
        conditioning=experiment.data.conditioning,
        pretrain=pretrained,
        **world.named("vae", *TEXT, "magi_image_encoder"),
    )


def build(dialogs: str, world: Any, experiment: Any, recipe: MsDiffusionConfig, pretrained: Path, trained: Path) -> Any:
    foundations = experiment.model.foundations.replaced(**world.named(*TEXT, "vae"))
    named = (recipe.clip_image_encoder, recipe.phrase, dialogs, foundations)
    return build_ms_diffusion(*named, 4, pretrained, trained, torch.device("cpu"))


@pytest.fixture(scope="module", params=["none", "mask"])
def row(
    request: pytest.FixtureRequest,
    world: Any,
    experiment: Any,
    recipe: MsDiffusionConfig,
    pretrained: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path]:
    """A trained row: its dialogs, and the folder with its workspace and output."""
    root = tmp_path_factory.mktemp("ms")
    training(request.param, world, experiment, recipe, pretrained)(**common(world, root))
    return request.param, root


@pytest.fixture(scope="module")
def method(
    row: tuple[str, Path], world: Any, experiment: Any, recipe: MsDiffusionConfig, pretrained: Path
) -> MsDiffusion:
    dialogs, root = row
    return build(dialogs, world, experiment, recipe, pretrained, root / "output")  # type: ignore[no-any-return]


def test_the_row_without_dialogs_leaves_sdxl_as_it_was_and_the_other_trains_it(
    row: tuple[str, Path], method: MsDiffusion, pretrained: Path
) -> None:
    dialogs, root = row
    before, after = load_unet(pretrained / "unet").state_dict(), method.generator.unet.state_dict()
    same = {name for name, tensor in before.items() if torch.equal(after[name], tensor)}
    learnt = adapter_parameters(method.generator.unet)
    assert learnt.keys() == after.keys() - before.keys()
    written = {path.name for path in (root / "output").iterdir()} - {"grounding", "training.json", "logs"}
    if dialogs == "none":
        assert (written, same) == ({"adapter.safetensors"}, before.keys())
        assert "dialog_bbox_embedding" not in learnt
        assert {FROZEN, OWN_CROPS} <= set(method.deviations)
    else:
        assert written == {"unet"}
        assert {name for name in same if name.endswith(".weight")} == set()
        assert "dialog_bbox_embedding" in learnt
        assert TRAINED in method.deviations
        assert FROZEN not in method.deviations


def test_interrupted_it_ends_with_the_same_bytes(
    row: tuple[str, Path], world: Any, experiment: Any, recipe: MsDiffusionConfig, pretrained: Path, tmp_path: Path
) -> None:
    dialogs, root = row
    assert_resumed_ends_alike(training(dialogs, world, experiment, recipe, pretrained), world, root, tmp_path / "again")


@pytest.mark.slow
def test_two_processes_train_alike(
    row: tuple[str, Path], world: Any, experiment: Any, recipe: MsDiffusionConfig, pretrained: Path, tmp_path: Path
) -> None:
    dialogs, root = row
    train = training(dialogs, world, experiment, recipe, pretrained)
    assert_two_processes_train_alike(train, world, root, tmp_path)


def test_weights_of_others_were_not_trained_as_ours(
    row: tuple[str, Path], world: Any, experiment: Any, recipe: MsDiffusionConfig, pretrained: Path, tmp_path: Path
) -> None:
    dialogs, root = row
    imported = shutil.copytree(root / "output", tmp_path / "imported", ignore=shutil.ignore_patterns("training.json"))
    said = set(build(dialogs, world, experiment, recipe, pretrained, imported).deviations)
    assert RELEASED in said
    assert not said & {FROZEN, OWN_CROPS, TRAINED}


def test_it_draws_in_bfloat16(
    row: tuple[str, Path],
    method: MsDiffusion,
    world: Any,
    experiment: Any,
    recipe: MsDiffusionConfig,
    pretrained: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dialogs, root = row
    as_on_a_gpu(monkeypatch, stages)
    low = build(dialogs, world, experiment, recipe, pretrained, root / "output")
    assert low.generator.unet.dtype == torch.bfloat16
    images = [dict(each.generate([[PANEL]], folder, recipe.sampling)) for each in (low, method)]
    assert_drawn_alike(*images, tolerance=8.0)


@pytest.mark.parametrize(("trained", "written"), [("new", "adapter.safetensors"), ("lora", "unet")])
def test_less_of_the_unet_can_be_trained(
    world: Any, experiment: Any, recipe: MsDiffusionConfig, pretrained: Path, tmp_path: Path, trained: str, written: str
) -> None:
    stage = recipe.dialogs_training.replaced(steps=2, trained=trained, lora_rank=2, lora_alpha=2.0)
    training("mask", world, experiment, recipe, pretrained)(**common(world, tmp_path) | {"stage": stage})
    assert [name for name in ("adapter.safetensors", "unet") if (tmp_path / "output" / name).exists()] == [written]
    built = build("mask", world, experiment, recipe, pretrained, tmp_path / "output")
    base, own = load_unet(pretrained / "unet").state_dict(), built.generator.unet.state_dict()
    changed = {name for name, tensor in base.items() if not torch.equal(own[name], tensor)}
    attention = {name for name in base if any(f".{part}.weight" in name for part in ("to_q", "to_k", "to_v"))}
    assert changed == set() if trained == "new" else attention <= changed
    assert not any("lora" in name for name in own)


def test_the_output_of_the_other_row_is_refused(
    row: tuple[str, Path], world: Any, experiment: Any, recipe: MsDiffusionConfig, pretrained: Path
) -> None:
    dialogs, root = row
    other = "mask" if dialogs == "none" else "none"
    with pytest.raises(ValueError, match=r"does not fit this UNet|expected a UNet with dialogs none, got mask"):
        build(other, world, experiment, recipe, pretrained, root / "output")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 256, (30, 20), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path


PANEL = Asked("p", "a boy runs", 32, 32, (Person((0.0, 0.0, 0.5, 1.0), "a.png"),), ((0.5, 0.0, 1.0, 0.5),), 1)


def draw(method: MsDiffusion, folder: Path, panel: Asked, recipe: MsDiffusionConfig) -> bytes:
    ((_, image),) = method.generate([[panel]], folder, recipe.sampling)
    return image.tobytes()


def test_what_it_consumes_and_nothing_else(method: MsDiffusion, folder: Path, recipe: MsDiffusionConfig) -> None:
    plain = draw(method, folder, PANEL, recipe)
    (person,) = PANEL.characters
    changes = {
        "caption": replace(PANEL, caption="rain over the town"),
        "character_images": replace(PANEL, characters=(replace(person, reference="b.png"),)),
        "character_boxes": replace(PANEL, characters=(replace(person, box=(0.5, 0.0, 1.0, 1.0)),)),
        "dialog_boxes": replace(PANEL, dialogs=((0.0, 0.5, 1.0, 1.0),)),
    }
    for name, panel in changes.items():
        assert (draw(method, folder, panel, recipe) != plain) == (name in method.consumes), name
    others = [[replace(PANEL, panel_id="q", caption="night", given="nowhere.png"), PANEL]]
    assert dict(method.generate(others, folder, recipe.sampling))["p"].tobytes() == plain


def test_too_many_subjects_are_refused(method: MsDiffusion, folder: Path, recipe: MsDiffusionConfig) -> None:
    with pytest.raises(ValueError, match="at most 4 characters, got 5"):
        list(method.generate([[replace(PANEL, characters=PANEL.characters * 5)]], folder, recipe.sampling))


def test_outside_all_boxes_only_the_caption_speaks() -> None:
    """The masked attention adds exactly nothing where no box is, and a lot where one is."""
    torch.manual_seed(0)
    unet = _unet()
    add_subjects(unet, 2, 2, "none")
    layer = next(p for name, p in unet.attn_processors.items() if name.endswith("attn2.processor"))
    queries = 2
    subjects = torch.randn(1, 2 * queries, 24)
    tokens = torch.cat([torch.zeros(1, queries, 24), subjects], dim=1)
    key = layer.to_k_ip(tokens)  # type: ignore[operator]
    value = layer.to_v_ip(tokens)  # type: ignore[operator]
    assert (key[:, :queries] == 0).all()
    assert (value[:, :queries] == 0).all()
    latents, time = torch.randn(1, 4, 8, 8), torch.tensor([500])
    nobody = Layout.empty(1, 2, 1)
    text = Conditions(torch.randn(1, 5, 24), torch.zeros(1, 16), torch.full((1, 6), 64.0))
    absent = replace(text, layout=nobody, character_tokens=tokens)
    with torch.no_grad():
        torch.testing.assert_close(predict_noise(unet, latents, time, absent), predict_noise(unet, latents, time, text))


def test_a_subject_acts_in_the_cells_of_its_box_alone_on_a_grid_twice_as_wide_as_high() -> None:
    """In one layer: other layers look around. Cells by hand, of 8 x 16."""
    torch.manual_seed(0)
    unet = _unet()
    add_subjects(unet, 2, 2, "none")
    layer = unet.down_blocks[0].attentions[0].transformer_blocks[0].attn2
    latents, time = torch.randn(1, 4, 8, 16), torch.tensor([500])
    layout = Layout.empty(1, 2, 1)
    layout.character_boxes[0] = torch.tensor([[0.0, 0.0, 0.25, 1.0], [0.5, 0.0, 1.0, 0.5]])
    tokens = torch.cat([torch.zeros(1, 2, 24), torch.randn(1, 4, 24)], dim=1)
    text = Conditions(torch.randn(1, 5, 24), torch.zeros(1, 16), torch.full((1, 6), 64.0))

    def seen(exists: bool, tokens: torch.Tensor) -> torch.Tensor:
        """What the layer says in each cell (8, 16, C)."""
        layout.character_exists[:] = exists
        said: list[torch.Tensor] = []
        hook = layer.register_forward_hook(lambda module, args, output: said.append(output))
        with torch.no_grad():
            predict_noise(unet, latents, time, replace(text, layout=layout, character_tokens=tokens))
        hook.remove()
        return said[0][0].unflatten(0, (8, 16))

    nobody, both = seen(False, tokens), seen(True, tokens)
    changed = tokens.clone()
    changed[:, 4:] += 1.0
    other = seen(True, changed)
    outside = torch.ones(8, 16, dtype=torch.bool)
    outside[:, :4] = outside[:4, 8:] = False
    assert torch.equal(both[outside], nobody[outside])
    assert not torch.isclose(both[~outside], nobody[~outside]).all(dim=-1).any()
    assert torch.equal(other[:, :4], both[:, :4])
    assert not torch.isclose(other[:4, 8:], both[:4, 8:]).all(dim=-1).any()


def test_what_was_added_is_told_from_sdxl() -> None:
    unet = _unet()
    stock = set(unet.state_dict())
    add_subjects(unet, 2, 2, "mask")
    assert set(adapter_parameters(unet)) == set(unet.state_dict()) - stock
    assert sum(name.endswith("to_k_ip.weight") for name in adapter_parameters(unet)) == len(unet.attn_processors) // 2
    for trained, whole in (("full", True), ("lora", True), ("new", False), ("ip", False)):
        another = copy.deepcopy(unet)
        recipe = tiny().baselines.ms_diffusion.dialogs_training.replaced(trained=trained, lora_rank=2)
        select_trained(another, recipe)
        assert trains_sdxl(another) == whole
        learning = {name for name, parameter in another.named_parameters() if parameter.requires_grad}
        assert (learning <= set(adapter_parameters(another))) == (not whole)
        assert ("dialog_bbox_embedding" in learning) == (trained in ("full", "new"))


def test_an_adapter_of_another_network_is_refused(tmp_path: Path) -> None:
    unet = _unet()
    add_subjects(unet, 2, 2, "none")
    with pytest.raises(ValueError, match=r"expected adapter.safetensors in .* found none"):
        load_adapter(unet, tmp_path)


def test_drops_come_at_their_rates() -> None:
    drops = DropConfig(image_rate=0.05, text_rate=0.05, both_rate=0.05, grounding_rate=0.1)
    no_image, no_text, grounded = sample_drops(drops, 40_000, torch.Generator().manual_seed(0))
    assert (no_image & ~no_text).float().mean() == pytest.approx(0.05, abs=0.005)
    assert (no_text & ~no_image).float().mean() == pytest.approx(0.05, abs=0.005)
    assert (no_text & no_image).float().mean() == pytest.approx(0.05, abs=0.005)
    assert (~grounded).float().mean() == pytest.approx(0.1, abs=0.006)


def _unet() -> Any:
    config = UNetConfig(
        block_out_channels=(32, 64),
        transformer_layers_per_block=(1, 1),
        layers_per_block=1,
        attention_head_dim=(2, 4),
        addition_time_embed_dim=8,
    )
    return build_unet(config, in_channels=4, cross_attention_dim=24, pooled_dim=16)


def test_grounding_loads_as_it_was_saved(tmp_path: Path) -> None:
    sizes = {"dim": 16, "depth": 1, "heads": 2, "head_dim": 8, "num_queries": 2}
    saved = GroundingResampler(**sizes, clip_dim=6, phrase_dim=5, output_dim=12)
    saved.save_pretrained(tmp_path)
    loaded = GroundingResampler.from_pretrained(tmp_path)
    assert all(
        torch.equal(a, b) for a, b in zip(saved.state_dict().values(), loaded.state_dict().values(), strict=True)
    )
