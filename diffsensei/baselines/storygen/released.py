"""Released StoryGen weights (hub: haoningwu/StoryGen, a diffusers folder) as the output of our second stage."""

import json
from pathlib import Path

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from diffsensei.baselines.storygen.context import add_context
from diffsensei.baselines.storygen.pixels import write_pixel_range
from diffsensei.models.unet import save_unet
from diffsensei.released.layout import read_object
from diffsensei.released.placement import whole_folder
from diffsensei.released.stored import State, fill, pickled_state, safetensors_state

_WEIGHTS = "diffusion_pytorch_model"
_ATTENTION = {"CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnUpBlock2D", "UpBlock2D", "UNetMidBlock2DCrossAttn"}


def import_storygen(folder: Path, output: Path) -> None:
    """Write ``folder/unet`` (config.json, diffusion_pytorch_model.safetensors or .bin) to ``output/unet``, float32.

    ``output`` records that these weights read earlier panels in [0, 1] (the published code's rescale has no effect).
    Raises ValueError for tensors that are missing, left over or misshapen, other blocks than Stable Diffusion's, or an
    ``output`` that is not empty.
    """
    source = folder.expanduser() / "unet"
    config = read_object(source / "config.json")
    _check_blocks(config, source)
    known = UNet2DConditionModel._get_init_keys(UNet2DConditionModel)
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config({name: value for name, value in config.items() if name in known})
        add_context(unet)
    with whole_folder(output) as aside:
        fill(unet, _state(source), str(source), device=torch.device("cpu"), dtype=torch.float32)
        save_unet(unet, aside / "unet")
        write_pixel_range(aside, "unit")


def _check_blocks(config: dict[str, object], source: Path) -> None:
    down, up = (config.get(name) for name in ("down_block_types", "up_block_types"))
    middle = config.get("mid_block_type", "UNetMidBlock2DCrossAttn")
    named = [*down, *up, middle] if isinstance(down, list) and isinstance(up, list) else [json.dumps([down, up])]
    odd = sorted({str(name) for name in named} - _ATTENTION)
    if odd or config.get("addition_embed_type") is not None:
        raise ValueError(
            f"{source / 'config.json'}: expected blocks of Stable Diffusion 1.5, got {odd[:5] or 'one of SDXL'}; give "
            "the folder of StoryGen that holds unet/"
        )


def _state(folder: Path) -> State:
    safetensors, pickled = folder / f"{_WEIGHTS}.safetensors", folder / f"{_WEIGHTS}.bin"
    return safetensors_state(safetensors) if safetensors.is_file() else pickled_state(pickled)
