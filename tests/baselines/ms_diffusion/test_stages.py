"""MS-Diffusion trained and drawn on a small world: what learns, what stays, what it consumes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diffsensei.baselines.ms_diffusion.grounding import GroundingResampler
from diffsensei.baselines.ms_diffusion.method import MsDiffusion
from diffsensei.baselines.ms_diffusion.network import adapter_parameters, add_subjects, load_adapter
from diffsensei.baselines.ms_diffusion.objective import sample_drops
from diffsensei.baselines.ms_diffusion.stages import build_ms_diffusion, train_ms_diffusion
from diffsensei.config.baselines import DropConfig, MsDiffusionConfig
from diffsensei.config.presets import tiny
from diffsensei.config.schema import UNetConfig
from diffsensei.models.conditions import Conditions, Layout
from diffsensei.models.unet import build_unet, load_unet, predict_noise
from tests.baselines.asked import Asked, Person
from tests.baselines.trained import TEXT, common, run_pretrain


@pytest.fixture(scope="module")
def recipe(world: Any, experiment: Any) -> MsDiffusionConfig:
    config = tiny().baselines.ms_diffusion
    return config.replaced(
        clip_image_encoder=world.foundations["clip_image_encoder"],
        grounding=config.grounding.replaced(dim=16, depth=1, heads=2, head_dim=8, num_queries=2).model_dump(),
        training=experiment.training.pretrain.model_dump(),
        sampling=config.sampling.replaced(steps=2).model_dump(),
    )


@pytest.fixture(scope="module")
def pretrained(world: Any, experiment: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_pretrain(world, experiment, tmp_path_factory.mktemp("pretrain"))


@pytest.fixture(scope="module", params=["none", "mask"])
def method(
    request: pytest.FixtureRequest,
    world: Any,
    experiment: Any,
    recipe: MsDiffusionConfig,
    pretrained: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> MsDiffusion:
    root = tmp_path_factory.mktemp("ms")
    train_ms_diffusion(
        method=recipe,
        dialogs=request.param,
        conditioning=experiment.data.conditioning,
        pretrain=pretrained,
        gradient_checkpointing="none",
        compilation="none",
        **world.named("vae", *TEXT, "magi_image_encoder"),
        **common(world, root),
    )
    assert {path.name for path in (root / "output").iterdir()} == {
        "adapter.safetensors",
        "grounding",
        "training.json",
        "logs",
    }
    foundations = experiment.model.foundations.replaced(**world.named(*TEXT, "vae"))
    trained = build_ms_diffusion(
        recipe, request.param, foundations, 4, pretrained, root / "output", torch.device("cpu")
    )
    frozen = load_unet(pretrained / "unet").state_dict()
    own = trained.generator.unet.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in frozen.items())
    learnt = adapter_parameters(trained.generator.unet)
    assert ("dialog_bbox_embedding" in learnt) == (request.param == "mask")
    return trained


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


def test_gradients_reach_what_is_new_and_nothing_else() -> None:
    unet = _unet()
    add_subjects(unet, 2, 2, "mask")
    trained = {name for name, parameter in unet.named_parameters() if parameter.requires_grad}
    assert trained == set(adapter_parameters(unet))
    assert sum(name.endswith("to_k_ip.weight") for name in trained) == len(unet.attn_processors) // 2


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
