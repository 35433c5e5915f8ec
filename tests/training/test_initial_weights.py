"""Files in the layout of the released IP-Adapter-Plus, at small size."""

from pathlib import Path

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import save_file

from diffsensei.config.schema import UNetConfig
from diffsensei.models.resampler import Resampler
from diffsensei.models.unet import add_manga_conditions, build_unet, save_unet
from diffsensei.training.initial_weights import RESAMPLER_ONLY, initial_unet, start_from_ip_adapter

CONFIG = UNetConfig(
    block_out_channels=(32, 64, 64),
    transformer_layers_per_block=(0, 1, 2),
    layers_per_block=1,
    attention_head_dim=(2, 2, 2),
    addition_time_embed_dim=8,
)
WIDTHS = {"in_channels": 4, "cross_attention_dim": 24, "pooled_dim": 8}


def manga_unet() -> UNet2DConditionModel:
    unet = build_unet(CONFIG, **WIDTHS)
    add_manga_conditions(unet, 4)
    return unet


def resampler() -> Resampler:
    return Resampler(dim=16, depth=1, heads=2, head_dim=8, num_queries=4, clip_dim=12, magi_dim=8, output_dim=24)


def ip_adapter(unet: UNet2DConditionModel, extractor: Resampler) -> dict[str, torch.Tensor]:
    """Random tensors under the released names: layers counted over all processors, the middle block last."""
    state = {
        f"image_proj.{name}": torch.randn_like(tensor)
        for name, tensor in extractor.state_dict().items()
        if name not in RESAMPLER_ONLY
    }
    ordered = sorted(unet.attn_processors, key=lambda name: name.startswith("mid"))
    for index, name in enumerate(ordered):
        if name.endswith("attn2.processor"):
            width = unet.get_submodule(name.removesuffix(".processor")).to_k.weight.shape
            for matrix in ("to_k_ip", "to_v_ip"):
                state[f"ip_adapter.{index}.{matrix}.weight"] = torch.randn(width)
    return state


def test_a_released_file_fills_the_character_branch(tmp_path: Path) -> None:
    unet, extractor = manga_unet(), resampler()
    state = ip_adapter(unet, extractor)
    save_file(state, tmp_path / "ip.safetensors")
    untouched = {name: extractor.state_dict()[name].clone() for name in RESAMPLER_ONLY}
    text = {name: tensor.clone() for name, tensor in unet.state_dict().items() if "_ip." not in name}
    start_from_ip_adapter(str(tmp_path / "ip.safetensors"), unet, extractor)

    for name, tensor in extractor.state_dict().items():
        assert torch.equal(tensor, untouched[name] if name in untouched else state[f"image_proj.{name}"])
    weights = unet.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in text.items())
    last = max(int(name.split(".")[1]) for name in state if name.startswith("ip_adapter"))
    middle = "mid_block.attentions.0.transformer_blocks.1.attn2.processor.to_v_ip.weight"
    assert torch.equal(weights[middle], state[f"ip_adapter.{last}.to_v_ip.weight"])
    first = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.processor.to_k_ip.weight"
    assert torch.equal(weights[first], state["ip_adapter.1.to_k_ip.weight"])


def test_a_file_for_another_network_is_refused(tmp_path: Path) -> None:
    unet, extractor = manga_unet(), resampler()
    state = ip_adapter(unet, extractor)
    absent = {name: tensor for name, tensor in state.items() if not name.startswith("ip_adapter.1.")}
    save_file(absent, tmp_path / "absent.safetensors")
    with pytest.raises(ValueError, match="ip_adapter keys"):
        start_from_ip_adapter(str(tmp_path / "absent.safetensors"), unet, extractor)
    save_file(state | {"ip_adapter.1.to_k_ip.weight": torch.zeros(2, 24)}, tmp_path / "shape.safetensors")
    with pytest.raises(ValueError, match=r"got \(2, 24\)"):
        start_from_ip_adapter(str(tmp_path / "shape.safetensors"), unet, extractor)
    with pytest.raises(ValueError, match=r"safetensors file or 'owner/name/path\.safetensors'"):
        start_from_ip_adapter("somewhere", unet, extractor)


def test_none_keeps_the_copies_of_the_text_branch() -> None:
    unet, extractor = manga_unet(), resampler()
    start_from_ip_adapter("none", unet, extractor)
    layer = unet.down_blocks[1].attentions[0].transformer_blocks[0].attn2
    assert torch.equal(layer.processor.to_k_ip.weight, layer.to_k.weight)


def test_a_saved_unet_is_read_and_checked_against_the_features(tmp_path: Path) -> None:
    unet = build_unet(CONFIG, **WIDTHS)
    save_unet(unet, tmp_path / "unet")
    loaded = initial_unet(str(tmp_path / "unet"), CONFIG, **WIDTHS)
    for name, tensor in unet.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    with pytest.raises(ValueError, match="expected cross_attention_dim 32"):
        initial_unet(str(tmp_path / "unet"), CONFIG, **WIDTHS | {"cross_attention_dim": 32})


NUMBERED = (
    *(f"down_blocks.1.attentions.0.transformer_blocks.{block}" for block in range(1)),
    *(f"down_blocks.2.attentions.0.transformer_blocks.{block}" for block in range(2)),
    *(f"up_blocks.0.attentions.{module}.transformer_blocks.{block}" for module in range(2) for block in range(2)),
    *(f"up_blocks.1.attentions.{module}.transformer_blocks.0" for module in range(2)),
    *(f"mid_block.attentions.0.transformer_blocks.{block}" for block in range(2)),
)
"""Transformer blocks as IP-Adapter counts them; the network itself runs the middle before the upper ones."""


def test_layers_are_numbered_down_up_middle(tmp_path: Path) -> None:
    """Shapes alone would not tell: here every file entry holds its own number."""
    unet, extractor = manga_unet(), resampler()
    state = ip_adapter(unet, extractor)
    for index, block in enumerate(NUMBERED):
        for matrix in ("to_k_ip", "to_v_ip"):
            name = f"ip_adapter.{2 * index + 1}.{matrix}.weight"
            shape = unet.get_submodule(f"{block}.attn2").to_k.weight.shape
            state[name] = torch.full(shape, float(index))
    assert len(NUMBERED) == sum(name.endswith("attn2.processor") for name in unet.attn_processors)
    save_file(state, tmp_path / "ip.safetensors")
    start_from_ip_adapter(str(tmp_path / "ip.safetensors"), unet, extractor)
    weights = unet.state_dict()
    for index, block in enumerate(NUMBERED):
        for matrix in ("to_k_ip", "to_v_ip"):
            assert weights[f"{block}.attn2.processor.{matrix}.weight"].unique().tolist() == [index], block
