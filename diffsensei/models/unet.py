"""The image generator: diffusers' SDXL UNet with character and dialog conditions (paper sec. 4.1).

The stock forward is untouched. One `Region` rides through ``cross_attention_kwargs``; hooks feed in the dialogs and
give each transformer the mask of its own feature map. Hooks, layouts and processors hold no reference to the network,
so copies, wrappers (DDP, EMA) and recomputation work as for any UNet.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from diffsensei.config.schema import UNetConfig
from diffsensei.diffusion.guidance import Predict
from diffsensei.models.box_masks import Size
from diffsensei.models.character_attention import CharacterCrossAttention, Kept, SelfAttention, keeping, project_all
from diffsensei.models.character_layouts import character_layout
from diffsensei.models.conditions import Conditions
from diffsensei.models.dialog_layouts import DIALOG_LAYOUTS, DialogLayout
from diffsensei.models.region import CharacterLayout, PlacedRegion, Region
from diffsensei.models.weights import WEIGHTS, load_strict


def build_unet(
    config: UNetConfig, *, in_channels: int, cross_attention_dim: int, pooled_dim: int
) -> UNet2DConditionModel:
    """An SDXL UNet with random weights. A level with 0 transformer layers gets blocks without attention."""
    layers = config.transformer_layers_per_block
    return UNet2DConditionModel(
        in_channels=in_channels,
        out_channels=in_channels,
        down_block_types=tuple("CrossAttnDownBlock2D" if count else "DownBlock2D" for count in layers),
        up_block_types=tuple("CrossAttnUpBlock2D" if count else "UpBlock2D" for count in reversed(layers)),
        mid_block_type="UNetMidBlock2DCrossAttn" if layers[-1] else "UNetMidBlock2D",
        block_out_channels=config.block_out_channels,
        layers_per_block=config.layers_per_block,
        transformer_layers_per_block=tuple(max(count, 1) for count in layers),
        attention_head_dim=config.attention_head_dim,
        cross_attention_dim=cross_attention_dim,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=config.addition_time_embed_dim,
        projection_class_embeddings_input_dim=pooled_dim + 6 * config.addition_time_embed_dim,
    )


def add_manga_conditions(
    unet: UNet2DConditionModel,
    num_queries: int,
    *,
    max_characters: int = 4,
    characters: str = "mask",
    dialogs: str = "mask",
    mask: str = "exact",
) -> None:
    """Install character attention on every cross-attention layer, and both layouts, in place.

    ``num_queries`` tokens describe a character (and the background), of which a panel has up to ``max_characters``.
    ``characters`` and ``dialogs`` are the values of `LayoutConfig`, ``mask`` that of `FidelityConfig`. All of it is
    recorded in the configuration under ``manga_conditions``, where `load_unet` finds it.
    Keys: ``...attn2.processor.to_k_ip.weight``, ``...to_v_ip.weight``, and those of the layouts.
    """
    assert "manga_conditions" not in unet.config, "conditions are installed once"
    processors: dict[str, Any] = {}
    for name in unet.attn_processors:
        attn = cast(Attention, unet.get_submodule(name.removesuffix(".processor")))
        processors[name] = CharacterCrossAttention(attn) if name.endswith("attn2.processor") else SelfAttention()
    unet.set_attn_processor(processors)

    layouts = character_layout(characters, mask), DIALOG_LAYOUTS[dialogs]
    for layout in layouts:
        layout.install(unet)
    unet.register_forward_pre_hook(partial(_place, *layouts), with_kwargs=True)
    for module in unet.modules():
        if isinstance(module, Transformer2DModel):
            module.register_forward_pre_hook(_region_of_this_level, with_kwargs=True)
    record = {"num_queries": num_queries, "max_characters": max_characters, "mask": mask}
    unet.register_to_config(manga_conditions=record | {"characters": characters, "dialogs": dialogs})


def _place(
    characters: CharacterLayout, dialogs: DialogLayout, unet: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Hand the forward what it is to know of the dialogs, and the blocks the region on latents of this size."""
    attention_kwargs = kwargs.get("cross_attention_kwargs") or {}
    region: Region | None = attention_kwargs.get("region")
    if region is None:
        return None
    latents, *rest = args
    placed = region.on(tuple(latents.shape[-2:]), characters, unet)
    latents, more = dialogs.inputs(unet, latents, placed.layout)
    return (latents, *rest), kwargs | more | {"cross_attention_kwargs": attention_kwargs | {"region": placed}}


def _region_of_this_level(transformer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Replace the panel's region by that of the feature map that comes in, whose size is known only here."""
    attention_kwargs = kwargs.get("cross_attention_kwargs") or {}
    region: PlacedRegion | None = attention_kwargs.get("region")
    if region is None:
        return None
    level = region.at(*args[0].shape[-2:])
    return args, kwargs | {"cross_attention_kwargs": attention_kwargs | {"region": level}}


def predict_noise(
    unet: nn.Module, latents: Tensor, timesteps: Tensor, conditions: Conditions, *, character_scale: float = 1.0
) -> Tensor:
    """The UNet's noise estimate (B, 4, h, w) for noisy ``latents`` (B, 4, h, w) at ``timesteps`` (B,) in 0..999.

    ``unet`` may be wrapped (DDP). Without a layout in ``conditions`` this is the stock SDXL forward.
    """
    return _forward(unet, latents, timesteps, conditions, Region(conditions, character_scale))


def noise_predictor(unet: nn.Module, conditions: Conditions, *, character_scale: float = 1.0) -> Predict:
    """`predict_noise` for a denoising loop: masks, keys and values of the conditions are computed once.

    Only for inference with fixed weights: the kept keys and values carry no gradient.
    """
    region = Region(conditions, character_scale)
    kept: Kept | None = None

    def predict(latents: Tensor, timesteps: Tensor) -> Tensor:
        nonlocal kept
        with torch.no_grad():
            if kept is None:
                kept = _projected(unet, region, (latents.shape[-2], latents.shape[-1]))
            with keeping(kept):
                return _forward(unet, latents, timesteps, conditions, region)

    return predict


def _projected(unet: Any, region: Region, latents: Size) -> Kept:
    """What the layers of ``unet`` make of the conditions, where these are of its kind."""
    record = unet.config.get("manga_conditions")
    if record is None or region.conditions.layout is None:
        return {}
    placed = region.on(latents, character_layout(record["characters"], record["mask"]), unet)
    return {} if placed.tokens is None else project_all(unet, region.conditions.text_tokens, placed.tokens)


def _forward(unet: nn.Module, latents: Tensor, timesteps: Tensor, conditions: Conditions, region: Region) -> Tensor:
    return unet(
        latents,
        timesteps,
        encoder_hidden_states=conditions.text_tokens,
        added_cond_kwargs={"text_embeds": conditions.pooled_text, "time_ids": conditions.time_ids},
        cross_attention_kwargs=None if conditions.layout is None else {"region": region},
        return_dict=False,
    )[0]


def save_unet(unet: UNet2DConditionModel, folder: Path) -> None:
    """Write ``config.json`` and one safetensors file, as diffusers does."""
    unet.save_pretrained(folder, max_shard_size="1TB")


def load_unet(folder: Path) -> UNet2DConditionModel:
    """Read what `save_unet` wrote, with conditions installed if the configuration names them.

    Raises ValueError if the folder or any tensor is missing, unexpected or of another shape.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise ValueError(f"expected config.json in UNet folder {folder}, found none; give the folder of a saved UNet")
    config = json.loads((folder / "config.json").read_text())
    manga = config.pop("manga_conditions", None)
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config)
        if manga is not None:
            add_manga_conditions(unet, **manga)
    unet.to_empty(device="cpu")
    load_strict(unet, folder / WEIGHTS)
    return unet
