"""The networks at their released size, without memory: exact tensor names, shapes and counts of the release."""

from typing import Any

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from diffsensei.config.presets import paper
from diffsensei.models.unet import add_manga_conditions, build_unet
from diffsensei.released.networks import empty_unet

STOCK, CHARACTERS, DIALOGS = 2_567_463_684, 340_787_200, 320
"""Parameters of SDXL's UNet, of character keys and values, and of the dialog embedding."""

SDXL: dict[str, Any] = {
    "_class_name": "UNet2DConditionModel",
    "act_fn": "silu",
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "attention_head_dim": [5, 10, 20],
    "block_out_channels": [320, 640, 1280],
    "cross_attention_dim": 2048,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "in_channels": 4,
    "layers_per_block": 2,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "norm_eps": 1e-05,
    "norm_num_groups": 32,
    "out_channels": 4,
    "projection_class_embeddings_input_dim": 2816,
    "sample_size": 128,
    "transformer_layers_per_block": [1, 2, 10],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "use_linear_projection": True,
}
"""What decides the network in SDXL base's unet/config.json."""

TRANSFORMERS = {
    **{f"down_blocks.1.attentions.{index}": (2, 640) for index in range(2)},
    **{f"down_blocks.2.attentions.{index}": (10, 1280) for index in range(2)},
    **{f"up_blocks.0.attentions.{index}": (10, 1280) for index in range(3)},
    **{f"up_blocks.1.attentions.{index}": (2, 640) for index in range(3)},
    "mid_block.attentions.0": (10, 1280),
}
"""Blocks and width of every transformer of SDXL."""


def shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def count(shapes_by_name: dict[str, tuple[int, ...]]) -> int:
    return sum(torch.Size(shape).numel() for shape in shapes_by_name.values())


def new_unet_keys() -> dict[str, tuple[int, ...]]:
    return {"dialog_bbox_embedding": (320,)} | {
        f"{transformer}.transformer_blocks.{block}.attn2.processor.to_{matrix}_ip.weight": (width, 2048)
        for transformer, (blocks, width) in TRANSFORMERS.items()
        for block in range(blocks)
        for matrix in "kv"
    }


@pytest.mark.slow
def test_the_unet_is_sdxls_with_140_character_matrices_and_one_embedding() -> None:
    stock, manga = shapes(empty_unet(SDXL, None)), shapes(empty_unet(SDXL, 16))
    added = {name: shape for name, shape in manga.items() if name not in stock}
    assert count(stock) == STOCK
    assert added == new_unet_keys()
    assert len(added) == 141
    assert count(added) == CHARACTERS + DIALOGS
    assert {name: manga[name] for name in stock} == stock
    assert 4 * count(manga) == 11_633_004_816, "11.6 GB in float32"


@pytest.mark.slow
def test_the_paper_presets_unet_is_that_network() -> None:
    with torch.device("meta"):
        unet = build_unet(paper().model.unet, in_channels=4, cross_attention_dim=2048, pooled_dim=1280)
        stock = shapes(unet)
        add_manga_conditions(unet, paper().model.resampler.num_queries)
    assert stock == shapes(empty_unet(SDXL, None))
    assert shapes(unet) == shapes(empty_unet(SDXL, 16))


def test_the_language_model() -> None:
    config = LlamaConfig(
        vocab_size=32330,
        hidden_size=5120,
        intermediate_size=13824,
        num_hidden_layers=40,
        num_attention_heads=40,
        num_key_value_heads=40,
    )
    with torch.device("meta"):
        llm = LlamaForCausalLM(config)
    assert count(shapes(llm)) == 13_019_243_520
