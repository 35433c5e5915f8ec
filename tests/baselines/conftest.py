"""The small world and the encoders of the training stages' tests, for the compared methods."""

from typing import Any

import pytest
import torch

from diffsensei.config.baselines import StableDiffusionParts
from diffsensei.config.schema import UNetConfig
from diffsensei.models.unet import build_unet, save_unet
from tests.training.conftest import conditioning, experiment, one_thread, world  # noqa: F401


@pytest.fixture(scope="session")
def base(world: Any, tmp_path_factory: pytest.TempPathFactory) -> StableDiffusionParts:  # noqa: F811
    """Small parts of Stable Diffusion 1.5: the UNet is an SDXL's, of which one text encoder is left."""
    torch.manual_seed(0)
    config = UNetConfig(
        block_out_channels=(32, 64),
        transformer_layers_per_block=(1, 1),
        layers_per_block=1,
        attention_head_dim=(2, 4),
        addition_time_embed_dim=8,
    )
    folder = tmp_path_factory.mktemp("sdxl") / "unet"
    save_unet(build_unet(config, in_channels=4, cross_attention_dim=24, pooled_dim=8), folder)
    return StableDiffusionParts(unet=str(folder), **world.named("vae", "text_encoder"))
