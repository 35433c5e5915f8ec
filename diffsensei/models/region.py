"""Which positions of a feature map belong to which box (paper sec. 4.1, masked cross-attention and dialog layout).

Characters are tested at cell centres, dialogs by the reference code's truncation to pixels. Everything is a handful
of tensor operations on the device: no loop over boxes, no synchronisation.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffsensei.models.conditions import Conditions

Projections = dict[int, tuple[Tensor, ...]]


def character_mask(boxes: Tensor, exists: Tensor, height: int, width: int) -> Tensor:
    """(B, N, height, width) bool: the cells each character covers, from ``boxes`` (B, N, 4) and ``exists`` (B, N).

    Cell i of w belongs to [x1, x2) if its centre (i + 0.5) / w does; a box that holds no centre gets the one cell its
    middle lies in. Boxes are clipped to the panel first; what has no area then covers nothing. (The reference code
    puts positions at i / (w - 1), counts both edges, and lets empty boxes cover the first cell.)
    """
    boxes = boxes.float().clamp(0.0, 1.0)
    x1, y1, x2, y2 = boxes.unbind(-1)
    present = exists & (x2 > x1) & (y2 > y1)
    columns, rows = _cells_at_centres(x1, x2, width), _cells_at_centres(y1, y2, height)
    return present[..., None, None] & rows[..., :, None] & columns[..., None, :]


def dialog_mask(boxes: Tensor, exists: Tensor, height: int, width: int) -> Tensor:
    """(B, 1, height, width) bool: cells inside any dialog box, from ``boxes`` (B, M, 4) and ``exists`` (B, M).

    Edges are truncated toward zero to whole cells and the end is excluded; overlaps count once (reference code).
    """
    x1, y1, x2, y2 = boxes.float().unsqueeze(-1).unbind(-2)
    column, row = torch.arange(width, device=boxes.device), torch.arange(height, device=boxes.device)
    columns = (column >= (x1 * width).trunc()) & (column < (x2 * width).trunc())
    rows = (row >= (y1 * height).trunc()) & (row < (y2 * height).trunc())
    inside = exists[..., None, None] & rows[..., :, None] & columns[..., None, :]
    return inside.any(dim=1, keepdim=True)


def _cells_at_centres(low: Tensor, high: Tensor, count: int) -> Tensor:
    """(..., count) bool for intervals [low, high) of [0, 1] cut into ``count`` cells."""
    index = torch.arange(count, device=low.device)
    first = (low * count - 0.5).ceil().unsqueeze(-1)
    end = (high * count - 0.5).ceil().unsqueeze(-1)
    middle = ((low + high) / 2 * count).floor().clamp(max=count - 1).unsqueeze(-1)
    return torch.where(end > first, (index >= first) & (index < end), index == middle)


@dataclass(frozen=True, eq=False)
class LevelRegion:
    """What a cross-attention layer sees at one resolution level."""

    character_tokens: Tensor
    """(B, D + N*Q, C)."""
    mask: Tensor
    """(B, 1, height * width, D + N*Q) bool: which tokens a position attends to; the same for all heads."""
    scale: float
    """Weight of the character attention beside the text attention."""
    projections: Projections | None
    """Keys and values kept between forwards, or None where they must be computed afresh."""


@dataclass(eq=False)
class Region:
    """The conditions of one forward (or of one denoising loop), with masks built once per resolution level."""

    conditions: Conditions
    scale: float = 1.0
    projections: Projections | None = None
    """A dict makes the layers keep keys and values: valid while conditions and weights stay, without gradients."""
    _levels: dict[tuple[int, int], LevelRegion] = field(default_factory=dict)

    def at(self, height: int, width: int) -> LevelRegion | None:
        """The level whose feature map is ``height`` x ``width``; None without character tokens."""
        tokens, layout = self.conditions.character_tokens, self.conditions.layout
        if tokens is None:
            return None
        assert layout is not None
        level = self._levels.get((height, width))
        if level is None:
            owned = character_mask(layout.character_boxes, layout.character_exists, height, width).flatten(2)
            unowned = ~owned.any(dim=1, keepdim=True)
            per_slot = torch.cat([unowned, owned], dim=1).transpose(1, 2)
            num_slots = per_slot.shape[-1]
            assert tokens.shape[1] % num_slots == 0, "background and character slots have equally many tokens"
            mask = per_slot.repeat_interleave(tokens.shape[1] // num_slots, dim=-1).unsqueeze(1)
            level = LevelRegion(tokens, mask, self.scale, self.projections)
            self._levels[height, width] = level
        return level

    def dialogs_at(self, height: int, width: int) -> Tensor:
        """(B, 1, height, width) bool: cells inside a dialog box."""
        layout = self.conditions.layout
        assert layout is not None
        return dialog_mask(layout.dialog_boxes, layout.dialog_exists, height, width)
