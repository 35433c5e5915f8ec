"""A released MS-Diffusion adapter, written here by hand: numbers of layers, strictness, the same tensors."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from diffsensei.baselines.ms_diffusion.grounding import GroundingResampler
from diffsensei.baselines.ms_diffusion.network import add_subjects, load_adapter
from diffsensei.baselines.ms_diffusion.released import import_ms_diffusion
from diffsensei.config.baselines import MsDiffusionConfig
from diffsensei.config.presets import tiny
from diffsensei.config.schema import UNetConfig
from diffsensei.models.conditions import Conditions, Layout
from diffsensei.models.unet import build_unet, predict_noise

UNET = UNetConfig(
    block_out_channels=(32, 64),
    transformer_layers_per_block=(1, 2),
    layers_per_block=1,
    attention_head_dim=(2, 4),
    addition_time_embed_dim=8,
)
SIZES = {"dim": 16, "depth": 1, "heads": 2, "head_dim": 8, "num_queries": 2}
TEXT_DIM = 24


def method() -> MsDiffusionConfig:
    config = tiny().baselines.ms_diffusion
    return config.replaced(grounding=config.grounding.replaced(**SIZES).model_dump())


def network() -> Any:
    torch.manual_seed(0)
    unet = build_unet(UNET, in_channels=4, cross_attention_dim=TEXT_DIM, pooled_dim=16)
    add_subjects(unet, 2, 2, "none")
    for name, parameter in unet.named_parameters():
        if "_ip." in name:
            parameter.data.normal_()
    return unet


def content(unet: Any, grounding: Any) -> dict[str, Any]:
    """Attention layers are counted in the blocks down, up, middle, self-attention first in each transformer layer."""
    names = [name for name, _ in unet.named_modules() if name.endswith((".attn1", ".attn2"))]
    ordered = [name for block in ("down", "up", "mid") for name in names if name.startswith(block)]
    assert ordered[-1].startswith("mid_block")
    state = unet.state_dict()
    layers = {
        f"{number}.{matrix}.weight": state[f"{name}.processor.{matrix}.weight"].clone()
        for number, name in enumerate(ordered)
        if name.endswith("attn2")
        for matrix in ("to_k_ip", "to_v_ip")
    }
    assert {int(key.split(".")[0]) % 2 for key in layers} == {1}
    return {
        "image_proj": dict(grounding.state_dict()),
        "ms_adapter": layers | {"dummy_image_tokens": torch.ones(1, 4, TEXT_DIM)},
    }


def test_every_layer_gets_its_own_keys_and_draws_the_same(tmp_path: Path) -> None:
    unet = network()
    grounding = GroundingResampler(**SIZES, clip_dim=6, phrase_dim=5, output_dim=TEXT_DIM)
    torch.save(content(unet, grounding), tmp_path / "ms_adapter.bin")
    assert import_ms_diffusion(tmp_path / "ms_adapter.bin", method(), UNET, tmp_path / "out") == ["dummy_image_tokens"]

    other = network()
    for name, parameter in other.named_parameters():
        if "_ip." in name:
            parameter.data.zero_()
    load_adapter(other, tmp_path / "out")
    assert all(torch.equal(a, b) for a, b in zip(unet.parameters(), other.parameters(), strict=True))
    saved = load_file(tmp_path / "out" / "grounding" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(saved[name], tensor) for name, tensor in grounding.state_dict().items())

    everywhere = Layout.empty(1, 2, 1)
    everywhere.character_boxes[0, 0] = torch.tensor([0.0, 0.0, 1.0, 1.0])
    everywhere.character_exists[0, 0] = True
    tokens = torch.randn(1, 6, TEXT_DIM)
    asked = Conditions(torch.randn(1, 5, TEXT_DIM), torch.zeros(1, 16), torch.full((1, 6), 64.0), tokens, everywhere)
    latents, time = torch.randn(1, 4, 8, 8), torch.tensor([500])
    with torch.no_grad():
        assert torch.equal(*(predict_noise(each, latents, time, asked) for each in (unet, other)))


@pytest.mark.parametrize("fault", ["even", "missing", "another shape", "left over", "projection", "top", "no tensor"])
def test_what_does_not_fit_is_refused_in_one_line(tmp_path: Path, fault: str) -> None:
    written = content(network(), GroundingResampler(**SIZES, clip_dim=6, phrase_dim=5, output_dim=TEXT_DIM))
    layers = written["ms_adapter"]
    if fault == "even":
        layers["2.to_k_ip.weight"] = layers.pop("1.to_k_ip.weight")
    elif fault == "missing":
        del layers["3.to_v_ip.weight"]
    elif fault == "another shape":
        layers["1.to_k_ip.weight"] = layers["1.to_k_ip.weight"][:1]
    elif fault == "left over":
        layers["99.to_k_ip.weight"] = torch.zeros(1)
    elif fault == "projection":
        del written["image_proj"]["latent_norm.bias"]
    elif fault == "top":
        written["optimizer"] = torch.zeros(1)
    else:
        layers["1.to_k_ip.weight"] = 1
    torch.save(written, tmp_path / "ms_adapter.bin")
    with pytest.raises(ValueError, match=r"ms_adapter\.bin") as refused:
        import_ms_diffusion(tmp_path / "ms_adapter.bin", method(), UNET, tmp_path / "out")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()
