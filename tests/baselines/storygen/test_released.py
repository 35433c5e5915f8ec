"""A released StoryGen, written here by hand, is read strictly and draws as the network it was written from."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diffsensei.baselines.stable_diffusion import load_sd_unet
from diffsensei.baselines.storygen.context import add_context
from diffsensei.baselines.storygen.method import SIGNED
from diffsensei.baselines.storygen.pixels import earlier_pixels, read_pixel_range
from diffsensei.baselines.storygen.released import import_storygen
from diffsensei.baselines.storygen.stages import build_storygen
from diffsensei.config.baselines import StableDiffusionParts, StoryGenConfig
from diffsensei.config.presets import tiny
from diffsensei.foundations.loading import load_text_encoder
from diffsensei.methods.assembly import place
from diffsensei.models.unet import save_unet
from tests.baselines.asked import Asked

CPU = torch.device("cpu")
PAGE = (Asked("0", "a boy runs", given="first.png"), Asked("1", "a girl laughs", seed=1), Asked("2", "a boy", seed=2))


@pytest.fixture(scope="module")
def network(base: StableDiffusionParts) -> Any:
    torch.manual_seed(1)
    unet = load_sd_unet(base.unet, load_text_encoder(base.text_encoder).model.config.hidden_size)
    add_context(unet)
    for parameter in unet.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return unet


@pytest.fixture
def released(network: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "StoryGen"
    (folder / "unet").mkdir(parents=True)
    config = {name: value for name, value in network.config.items() if not name.startswith("_")}
    config |= {"_class_name": "UNet2DConditionModel", "_diffusers_version": "0.13.1", "of_another_version": 1}
    (folder / "unet" / "config.json").write_text(json.dumps(config))
    write(folder, dict(network.state_dict()))
    return folder


def write(folder: Path, state: dict[str, Any]) -> None:
    torch.save(state, folder / "unet" / "diffusion_pytorch_model.bin")


@pytest.fixture(scope="module")
def recipe() -> StoryGenConfig:
    config = tiny().baselines.storygen
    return config.replaced(context_side=16, sampling=config.sampling.replaced(steps=2).model_dump())


def draw(method: Any, folder: Path, recipe: StoryGenConfig) -> dict[str, bytes]:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 20), dtype=np.uint8)).save(folder / "first.png")
    return {name: image.tobytes() for name, image in method.generate([PAGE], folder, recipe.sampling)}


def test_it_draws_as_the_network_it_was_written_from(
    network: Any, released: Path, base: StableDiffusionParts, recipe: StoryGenConfig, tmp_path: Path
) -> None:
    import_storygen(released, tmp_path / "imported")
    save_unet(network, tmp_path / "own" / "unet")
    signed = build_storygen(recipe, base, tmp_path / "own", CPU)
    imported = build_storygen(recipe, base, tmp_path / "imported", CPU)
    assert SIGNED in signed.deviations
    assert SIGNED not in imported.deviations
    other = draw(signed, tmp_path, recipe)
    (tmp_path / "own" / "earlier_panels.json").write_text('{"pixels": "unit"}')
    own = build_storygen(recipe, base, tmp_path / "own", CPU)
    drawn = draw(imported, tmp_path, recipe)
    assert drawn == draw(own, tmp_path, recipe)
    assert drawn != other


def test_ranges() -> None:
    images = torch.tensor([[[0, 255]]], dtype=torch.uint8)
    assert earlier_pixels(images, "unit")[0, 0].tolist() == [[0.0, 1.0]]
    assert earlier_pixels(images, "signed")[0, 0].tolist() == [[-1.0, 1.0]]


def test_an_unknown_range_is_refused(tmp_path: Path) -> None:
    assert read_pixel_range(tmp_path) == "signed"
    (tmp_path / "earlier_panels.json").write_text('{"pixels": "half"}')
    with pytest.raises(ValueError, match="expected pixels signed or unit, got 'half'"):
        read_pixel_range(tmp_path)


@pytest.mark.parametrize("fault", ["missing", "left over", "another shape", "no SD"])
def test_what_does_not_fit_is_refused_in_one_line(network: Any, released: Path, tmp_path: Path, fault: str) -> None:
    state = dict(network.state_dict())
    name = next(name for name in state if ".attn3.to_q." in name)
    path = released / "unet" / "config.json"
    expected = name
    if fault == "missing":
        del state[name]
    elif fault == "left over":
        state["more.weight"], expected = torch.zeros(1), "more.weight"
    elif fault == "another shape":
        state[name] = state[name][:1]
    else:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"addition_embed_type": "text_time"}))
        expected = "Stable Diffusion 1.5"
    write(released, state)
    with pytest.raises(ValueError, match="StoryGen") as refused:
        import_storygen(released, tmp_path / "out")
    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_it_draws_in_bfloat16(network: Any, base: StableDiffusionParts, recipe: StoryGenConfig, tmp_path: Path) -> None:
    """As on a GPU: UNet and text encoder in bfloat16, the autoencoder in float32."""
    save_unet(network, tmp_path / "unet")
    method = build_storygen(recipe, base, tmp_path, CPU)
    place(method._painter.unet, CPU, torch.bfloat16)
    place(method._text.model, CPU, torch.bfloat16)
    assert set(draw(method, tmp_path, recipe)) == {"1", "2"}
