"""The trained networks of the release, from their tensors: UNet, resampler, and the resamplers around the MLLM.

Each is built without memory of its own and takes the tensors as they are read, so the peak is one network. Widths and
depths come from the tensors; what tensors do not show from `settings` and `layout`.
"""

import re
from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from diffsensei.models.agent_resampler import AgentResamplers, grid_positions
from diffsensei.models.resampler import Resampler
from diffsensei.models.unet import add_manga_conditions
from diffsensei.released.layout import PICKLED, read_object
from diffsensei.released.settings import RELEASED, GeneratorSettings
from diffsensei.released.stored import State, StoredTensor, fill, first_shape, pickled_state

_PERCEIVER_LAYER = re.compile(r"layers\.(\d+)\.0\.to_q\.weight")


def load_released_unet(
    folder: Path, num_queries: int, settings: GeneratorSettings, *, device: torch.device, dtype: torch.dtype
) -> UNet2DConditionModel:
    """``folder/config.json`` (SDXL's) and ``folder/pytorch_model.bin`` (with character K/V and dialog embedding).

    ``num_queries``: tokens per character, as the resampler has them. Raises ValueError if the tensors do not fit.
    """
    weights = folder / PICKLED
    unet = empty_unet(read_object(folder / "config.json"), num_queries, settings)
    fill(unet, pickled_state(weights), str(weights), device=device, dtype=dtype)
    return unet.eval().requires_grad_(False)


def empty_unet(
    config: dict[str, Any], num_queries: int | None, settings: GeneratorSettings = RELEASED
) -> UNet2DConditionModel:
    """A UNet of diffusers' ``config`` on the meta device; with conditions unless ``num_queries`` is None."""
    stock = {name: value for name, value in config.items() if name != "manga_conditions"}
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(stock)
        if num_queries is not None:
            add_manga_conditions(unet, num_queries, max_characters=settings.max_characters, mask=settings.mask)
    return unet


def load_released_resampler(
    folder: Path, settings: GeneratorSettings, *, device: torch.device, dtype: torch.dtype
) -> Resampler:
    """``folder/pytorch_model.bin``: the bare state dict. Raises ValueError if tensors are missing, left over or odd."""
    weights = folder / PICKLED
    return resampler_from(pickled_state(weights), str(weights), settings, device=device, dtype=dtype)


def resampler_from(
    state: State, source: str, settings: GeneratorSettings, *, device: torch.device, dtype: torch.dtype
) -> Resampler:
    """A resampler as wide and deep as the tensors of ``state``. Raises ValueError as `load_released_resampler`."""
    head_dim = settings.head_dim
    _, num_queries, dim = first_shape(state, "latents", 3, source)
    inner = first_shape(state, "layers.0.0.to_q.weight", 2, source)[0]
    if inner % head_dim:
        raise ValueError(f"{source}: expected heads of {head_dim} channels, got {inner} channels in all of them")
    with torch.device("meta"):
        resampler = Resampler(
            dim=dim,
            depth=1 + max(int(found[1]) for name in state if (found := _PERCEIVER_LAYER.fullmatch(name))),
            heads=inner // head_dim,
            head_dim=head_dim,
            num_queries=num_queries,
            clip_dim=first_shape(state, "proj_in.weight", 2, source)[1],
            magi_dim=first_shape(state, "proj_in_magi.weight", 2, source)[1],
            output_dim=first_shape(state, "proj_out.weight", 2, source)[0],
            magi_patches=settings.magi_patches,
            empty_slots=settings.empty_slots,
        )
    fill(resampler, state, source, device=device, dtype=dtype)
    return resampler.eval().requires_grad_(False)


def agent_from(state: State, source: str, heads: int, *, device: torch.device, dtype: torch.dtype) -> AgentResamplers:
    """The resamplers around the language model from ``input_resampler.*`` and ``output_resampler.*``.

    Their fixed position tables may be left out, as training checkpoints do. Raises ValueError if tensors do not fit.
    """
    num_tokens, llm_dim = first_shape(state, "input_resampler.query", 2, source)
    token_dim = first_shape(state, "output_resampler.query", 2, source)[1]
    complete = dict(state)
    for name, width in (("input_resampler.pos_embed", llm_dim), ("output_resampler.pos_embed", token_dim)):
        if name not in complete:
            table = grid_positions(num_tokens, width)
            complete[name] = StoredTensor(tuple(table.shape), table.detach)
    for width in (llm_dim, token_dim):
        if width % heads:
            raise ValueError(f"{source}: expected widths in multiples of {heads} heads, got {width}")
    with torch.device("meta"):
        agent = AgentResamplers(num_tokens=num_tokens, token_dim=token_dim, llm_dim=llm_dim, heads=heads)
    fill(agent, complete, source, device=device, dtype=dtype)
    return agent.eval().requires_grad_(False)
