"""A small UNet, resampler and batch with two characters, for tests of what training does to them."""

import torch

from diffsensei.config.schema import UNetConfig
from diffsensei.models.conditions import Conditions, Layout
from diffsensei.models.resampler import Resampler
from diffsensei.models.unet import add_manga_conditions, build_unet
from diffsensei.training.batch import CharacterImages, PanelBatch

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel  # isort: skip

WIDTH, QUERIES = 16, 2
CONFIG = UNetConfig(
    block_out_channels=(32, 64),
    transformer_layers_per_block=(0, 1),
    layers_per_block=1,
    attention_head_dim=(2, 4),
    addition_time_embed_dim=8,
)


def some_unet(characters: str = "mask", dialogs: str = "mask") -> UNet2DConditionModel:
    torch.manual_seed(0)
    unet = build_unet(CONFIG, in_channels=4, cross_attention_dim=WIDTH, pooled_dim=8)
    add_manga_conditions(unet, QUERIES, characters=characters, dialogs=dialogs)
    return unet


def some_batch() -> PanelBatch:
    torch.manual_seed(1)
    layout = Layout(
        character_boxes=torch.tensor([[[0.0, 0.0, 0.5, 1.0], [0.4, 0.5, 1.0, 1.0]]] * 2),
        character_exists=torch.ones(2, 2, dtype=torch.bool),
        dialog_boxes=torch.tensor([[[0.5, 0.0, 1.0, 0.5]]] * 2),
        dialog_exists=torch.ones(2, 1, dtype=torch.bool),
    )
    text = Conditions(torch.randn(2, 5, WIDTH), torch.randn(2, 8), torch.full((2, 6), 64.0), layout=layout)
    return PanelBatch(torch.randn(2, 8, 8, 6), text, CharacterImages(torch.randn(2, 2, 5, 10), torch.randn(2, 2, 6)))


def some_resampler() -> Resampler:
    torch.manual_seed(2)
    return Resampler(
        dim=16, depth=1, heads=2, head_dim=8, num_queries=QUERIES, clip_dim=10, magi_dim=6, output_dim=WIDTH
    )
