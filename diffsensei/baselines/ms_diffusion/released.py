"""Released MS-Diffusion weights (hub: doge1516/MS-Diffusion, ``ms_adapter.bin``) as the output of our stage."""

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from diffsensei.baselines.ms_diffusion.grounding import NUM_FREQUENCIES, GroundingResampler
from diffsensei.baselines.ms_diffusion.network import adapter_parameters, add_subjects, save_adapter
from diffsensei.config.baselines import MsDiffusionConfig
from diffsensei.config.schema import UNetConfig
from diffsensei.foundations.reading import refuse_keys
from diffsensei.models.unet import build_unet
from diffsensei.released.placement import whole_folder
from diffsensei.released.stored import State, fill, first_shape, read_pickle, stored
from diffsensei.training.initial_weights import processor_order

GROUNDING = "grounding"
PROJECTION, LAYERS = "image_proj", "ms_adapter"
IGNORED = "dummy_image_tokens"
"""Read by rows that are then set to 0 (published code), so they say nothing; beside or among the layers."""
LATENT_CHANNELS, POOLED_DIM = 4, 1280
"""SDXL's; no tensor of the adapter depends on them."""


def import_ms_diffusion(weights: Path, method: MsDiffusionConfig, unet: UNetConfig, output: Path) -> list[str]:
    """Write ``adapter.safetensors`` and ``grounding/`` in float32; returns names that were passed over.

    ``method`` and ``unet`` give what tensors do not show: head counts, and the blocks whose cross-attentions are
    numbered. Raises ValueError for tensors that are missing, left over or misshapen, or an ``output`` not empty.
    """
    content = read_pickle(weights)
    refuse_keys(
        str(weights),
        missing={PROJECTION, LAYERS} - content.keys(),
        unexpected=set(map(str, content.keys() - {PROJECTION, LAYERS, IGNORED})),
        mismatched=set(),
    )
    projection, layers = (_tensors(content[name], f"{weights} ({name})") for name in (PROJECTION, LAYERS))
    ignored = [name for name in (IGNORED,) if name in content or name in layers]
    layers = {name: tensor for name, tensor in layers.items() if name != IGNORED}
    with whole_folder(output) as aside:
        grounding = _grounding(projection, method, f"{weights} ({PROJECTION})")
        grounding.save_pretrained(aside / GROUNDING)
        text_dim = grounding.config["output_dim"]
        save_adapter(_network(layers, unet, method.grounding.num_queries, text_dim, f"{weights} ({LAYERS})"), aside)
    return ignored


def _grounding(state: State, method: MsDiffusionConfig, source: str) -> GroundingResampler:
    with torch.device("meta"):
        grounding = GroundingResampler(
            **method.grounding.model_dump(),
            clip_dim=first_shape(state, "proj_in.weight", 2, source)[1],
            phrase_dim=first_shape(state, "latent_proj.0.weight", 2, source)[1] - 2 * 4 * NUM_FREQUENCIES,
            output_dim=first_shape(state, "proj_out.weight", 2, source)[0],
        )
    fill(grounding, state, source, device=torch.device("cpu"), dtype=torch.float32)
    return grounding


def _network(state: State, config: UNetConfig, num_queries: int, text_dim: int, source: str) -> UNet2DConditionModel:
    """An SDXL without memory but for its subject attention."""
    with torch.device("meta"):
        unet = build_unet(config, in_channels=LATENT_CHANNELS, cross_attention_dim=text_dim, pooled_dim=POOLED_DIM)
        add_subjects(unet, num_queries, 1, "none")
    own = adapter_parameters(unet)
    # The n-th processor of all, self-attention among them, in an order that ends with the middle.
    number = {name: str(index) for index, name in enumerate(processor_order(unet))}
    names = {}
    for name in own:
        processor, matrix = name.rsplit(".processor.", 1)
        names[f"{number[f'{processor}.processor']}.{matrix}"] = name
    refuse_keys(
        source,
        missing=names.keys() - state.keys(),
        unexpected=set(state.keys() - names.keys()),
        mismatched={key for key in names.keys() & state.keys() if own[names[key]].shape != state[key].shape},
    )
    for key, name in names.items():
        module, _, parameter = name.rpartition(".")
        tensor = torch.nn.Parameter(state[key].read().float(), requires_grad=False)
        setattr(unet.get_submodule(module), parameter, tensor)
    return unet


def _tensors(value: object, source: str) -> State:
    if not isinstance(value, Mapping):
        raise ValueError(f"{source}: expected a dict of tensors, got {type(value).__name__}; give ms_adapter.bin")
    return stored(value, source)
