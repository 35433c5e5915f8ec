"""How the UNet is told where characters are: masked attention, or the alternatives of the paper's Table 3."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from diffsensei.models.box_embedding import BoxEmbedding
from diffsensei.models.box_masks import Size, character_mask, reference_character_mask, touched_character_mask
from diffsensei.models.conditions import Layout
from diffsensei.models.region import CharacterLayout

MaskOfLevel = Callable[[Layout, Size, Size], Tensor]
"""(layout, level, latents) -> (B, N, h, w) bool."""


@dataclass(frozen=True)
class MaskedCharacters:
    """A position attends to the characters whose boxes cover it, and to the background where none does (eq. 2)."""

    mask: MaskOfLevel

    def install(self, unet: Any) -> None:
        """Masks have no parameters."""

    def tokens(self, unet: Any, tokens: Tensor, layout: Layout) -> Tensor:
        return tokens

    def visible(self, layout: Layout, level: Size, latents: Size) -> Tensor:
        owned = self.mask(layout, level, latents).flatten(2)
        return torch.cat([~owned.any(dim=1, keepdim=True), owned], dim=1)


class CharactersAnywhere:
    """No layout: every position attends to the background and to all characters of the panel."""

    def install(self, unet: Any) -> None:
        """Nothing to learn."""

    def tokens(self, unet: Any, tokens: Tensor, layout: Layout) -> Tensor:
        return tokens

    def visible(self, layout: Layout, level: Size, latents: Size) -> Tensor:
        exists = layout.character_exists
        return torch.cat([torch.ones_like(exists[:, :1]), exists], dim=1).unsqueeze(-1)


class FourierCharacters(CharactersAnywhere):
    """Table 3's alternative: the Fourier embedding of a character's box is added to each of its tokens, and every
    position attends to all of them.

    The paper adds it "to the character features" without saying where; here to the tokens that the cross-attention
    reads, so that those of the MLLM adapter get it as well. The network is ``character_box_embedding``.
    """

    def install(self, unet: Any) -> None:
        unet.character_box_embedding = BoxEmbedding(unet.config["cross_attention_dim"]).to(unet.device, unet.dtype)

    def tokens(self, unet: Any, tokens: Tensor, layout: Layout) -> Tensor:
        shift = unet.character_box_embedding(layout.character_boxes, layout.character_exists)
        per_slot = tokens.shape[1] // (shift.shape[1] + 1)
        shift = shift.repeat_interleave(per_slot, dim=1)
        return tokens + F.pad(shift, (0, 0, per_slot, 0)).to(tokens.dtype)


def _exact(layout: Layout, level: Size, latents: Size) -> Tensor:
    return character_mask(layout.character_boxes, layout.character_exists, *level)


def _reference(layout: Layout, level: Size, latents: Size) -> Tensor:
    return reference_character_mask(layout.character_boxes, layout.character_exists, level, latents)


def _touched(layout: Layout, level: Size, latents: Size) -> Tensor:
    return touched_character_mask(layout.character_boxes, layout.character_exists, *level)


MASKS: dict[str, MaskOfLevel] = {"exact": _exact, "reference": _reference, "touched": _touched}


def character_layout(name: str, mask: str) -> CharacterLayout:
    """The layout that the configuration calls ``name``; ``mask`` is how a masked one tests cells."""
    layouts: dict[str, CharacterLayout] = {
        "mask": MaskedCharacters(MASKS[mask]),
        "fourier": FourierCharacters(),
        "none": CharactersAnywhere(),
    }
    return layouts[name]
