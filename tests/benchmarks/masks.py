"""Character masks of one UNet forward: once per level against anew in each of SDXL's 70 cross-attention layers."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from diffsensei.models.character_layouts import character_layout
from diffsensei.models.conditions import Conditions, Layout
from diffsensei.models.region import Region
from tests.benchmarks.interleaved import Case
from tests.benchmarks.per_box import reference_attention_mask

NUM_QUERIES, SLOTS = 16, 4
LOOP = 30
"""Steps of a panel."""
LAYERS = ((1, 10, 10), (2, 20, 60))
"""(halvings of the latents, heads, layers) of SDXL's levels with attention."""


def cases() -> Iterator[Case]:
    for pixels, batch in ((256, 8), (512, 2), (1024, 1)):
        latents = (pixels // 8, pixels // 8)
        conditions = _conditions(batch)
        yield Case(
            name=f"character masks of a forward, {pixels} px, batch {batch}",
            check=partial(_check, conditions, latents),
            plain=partial(_plain, conditions, latents),
            ours=partial(_ours, conditions, latents),
            goal=50.0,
        )
    latents, conditions = (64, 64), _conditions(2)
    yield Case(
        name=f"character masks of {LOOP} guided steps, 512 px, one panel",
        check=partial(_check, conditions, latents),
        plain=partial(_plain_loop, conditions, latents),
        ours=partial(_our_loop, conditions, latents),
        goal=0.0,
    )


def _conditions(batch: int) -> Conditions:
    """Two characters in four slots, at random places."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(batch, SLOTS, 2, 2, generator=generator).sort(dim=2).values.flatten(2)
    exists = torch.tensor([True, True, False, False]).expand(batch, -1)
    layout = Layout(
        torch.where(exists.unsqueeze(-1), corners, 0.0), exists, torch.zeros(batch, 1, 4), torch.zeros(batch, 1) > 0
    )
    tokens = torch.zeros(batch, (1 + SLOTS) * NUM_QUERIES, 8)
    return Conditions(torch.zeros(batch, 1, 8), torch.zeros(batch, 8), torch.zeros(batch, 6), tokens, layout)


def _levels(latents: tuple[int, int]) -> Iterator[tuple[tuple[int, int], int, int]]:
    for halvings, heads, layers in LAYERS:
        yield (latents[0] >> halvings, latents[1] >> halvings), heads, layers


def _plain(conditions: Conditions, latents: tuple[int, int]) -> list[Tensor]:
    """The last mask of each level."""
    assert conditions.layout is not None
    masks = []
    for level, heads, layers in _levels(latents):
        for _ in range(layers):
            mask = reference_attention_mask(conditions.layout.character_boxes, level, latents, NUM_QUERIES, heads)
        masks.append(mask)
    return masks


def _plain_loop(conditions: Conditions, latents: tuple[int, int]) -> list[list[Tensor]]:
    return [_plain(conditions, latents) for _ in range(LOOP)]


def _our_loop(conditions: Conditions, latents: tuple[int, int]) -> list[list[Tensor]]:
    """The region of a denoising loop keeps its masks."""
    region = Region(conditions)
    return [_ours(conditions, latents, region) for _ in range(LOOP)]


def _ours(conditions: Conditions, latents: tuple[int, int], region: Region | None = None) -> list[Tensor]:
    placed = (region or Region(conditions)).on(latents, character_layout("mask", "reference"), unet=None)
    masks = []
    for level, _, layers in _levels(latents):
        for _ in range(layers):
            of_level = placed.at(*level)
        assert of_level is not None
        masks.append(of_level.mask)
    return masks


def _check(conditions: Conditions, latents: tuple[int, int]) -> None:
    for plain, ours, (_, heads, _) in zip(
        _plain(conditions, latents), _ours(conditions, latents), _levels(latents), strict=True
    ):
        assert torch.equal((plain == 0).unflatten(0, (-1, heads)), ours.expand(-1, heads, -1, -1))
