"""The conditions on their way through one forward of the UNet: panel, panel on its latents, one resolution level."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from diffsensei.models.box_masks import Size
from diffsensei.models.conditions import Conditions, Layout


class CharacterLayout(Protocol):
    """How boxes decide where characters go; see `character_layouts`. Holds no reference to the network."""

    def install(self, unet: Any) -> None:
        """Add what it learns to ``unet``, in place."""
        ...

    def tokens(self, unet: Any, tokens: Tensor, layout: Layout) -> Tensor:
        """The character tokens (B, D + N*Q, C) as the cross-attention of ``unet`` reads them."""
        ...

    def visible(self, layout: Layout, level: Size, latents: Size) -> Tensor:
        """(B, 1 + N, L) bool: which of background and characters each of L = h*w positions of a ``level`` attends to;
        L = 1 where all positions attend alike."""
        ...


@dataclass(frozen=True, eq=False)
class LevelRegion:
    """What a cross-attention layer sees at one resolution level."""

    character_tokens: Tensor
    """(B, D + N*Q, C)."""
    mask: Tensor
    """(B, 1, height * width or 1, D + N*Q) bool: which tokens a position attends to; the same for all heads."""
    scale: float
    """Weight of the character attention beside the text attention."""


@dataclass(eq=False)
class PlacedRegion:
    """The conditions on latents of one size; masks are built once per resolution level, for all layers."""

    characters: CharacterLayout
    tokens: Tensor | None
    layout: Layout
    latents: Size
    scale: float
    _levels: dict[Size, LevelRegion] = field(default_factory=dict)

    def at(self, height: int, width: int) -> LevelRegion | None:
        """The level whose feature map is ``height`` x ``width``; None without character tokens."""
        if self.tokens is None:
            return None
        level = self._levels.get((height, width))
        if level is None:
            per_slot = self.characters.visible(self.layout, (height, width), self.latents).transpose(1, 2)
            num_slots = per_slot.shape[-1]
            assert self.tokens.shape[1] % num_slots == 0, "background and character slots have equally many tokens"
            mask = per_slot.repeat_interleave(self.tokens.shape[1] // num_slots, dim=-1).unsqueeze(1)
            level = LevelRegion(self.tokens, mask, self.scale)
            self._levels[height, width] = level
        return level


@dataclass(eq=False)
class Region:
    """The conditions of one forward, or of all forwards of one denoising loop, which then share masks."""

    conditions: Conditions
    scale: float = 1.0
    _placed: dict[Size, PlacedRegion] = field(default_factory=dict)

    def on(self, latents: Size, characters: CharacterLayout, unet: Any) -> PlacedRegion:
        """The region on latents of one size, as ``unet`` lays out its ``characters``."""
        placed = self._placed.get(latents)
        if placed is None:
            tokens, layout = self.conditions.character_tokens, self.conditions.layout
            assert layout is not None, "a region has a layout"
            if tokens is not None:
                tokens = characters.tokens(unet, tokens, layout)
            placed = PlacedRegion(characters, tokens, layout, latents, self.scale)
            self._placed[latents] = placed
        return placed
