"""Which cells of a feature map belong to which box (paper sec. 4.1, masked cross-attention and dialog layout).

Everything is a handful of tensor operations on the device: no loop over boxes, no synchronisation.
"""

import math

import torch
from torch import Tensor

Size = tuple[int, int]
"""Height and width, in cells."""


def character_mask(boxes: Tensor, exists: Tensor, height: int, width: int) -> Tensor:
    """(B, N, height, width) bool: the cells each character covers, from ``boxes`` (B, N, 4) and ``exists`` (B, N).

    Cell i of w belongs to [x1, x2) if its centre (i + 0.5) / w does; a box that holds no centre gets the one cell its
    middle lies in. Boxes are clipped to the panel first; what has no area then covers nothing.
    """
    boxes = boxes.float().clamp(0.0, 1.0)
    x1, y1, x2, y2 = boxes.unbind(-1)
    present = exists & (x2 > x1) & (y2 > y1)
    columns, rows = _cells_at_centres(x1, x2, width), _cells_at_centres(y1, y2, height)
    return present[..., None, None] & rows[..., :, None] & columns[..., None, :]


def touched_character_mask(boxes: Tensor, exists: Tensor, height: int, width: int) -> Tensor:
    """(B, N, height, width) bool: every cell that a character's box touches, as MS-Diffusion counts them.

    Edges go outwards to whole cells: the start is rounded down, the end up. Boxes are clipped to the panel first.
    """
    boxes = boxes.float().clamp(0.0, 1.0)
    x1, y1, x2, y2 = boxes.unsqueeze(-1).unbind(-2)
    column, row = torch.arange(width, device=boxes.device), torch.arange(height, device=boxes.device)
    columns = (column >= (x1 * width).floor()) & (column < (x2 * width).ceil())
    rows = (row >= (y1 * height).floor()) & (row < (y2 * height).ceil())
    present = exists[..., None] & (x2 > x1) & (y2 > y1)
    return (present & rows)[..., :, None] & columns[..., None, :]


def reference_character_mask(boxes: Tensor, exists: Tensor, level: Size, latents: Size) -> Tensor:
    """(B, N, h, w) bool for a feature map of size ``level``, cell for cell as released weights were trained (reference
    code). ``latents`` is the size of the latents the feature map comes from.

    Three quirks set it apart from `character_mask`: cell i of w stands at i / (w - 1), so that the first and last
    touch the panel's edges, and both edges of a box count; the size is guessed from the number of cells and the
    latents' aspect, and where the guess is wrong cells are read in the order of another grid; and slots without a
    character hold the box (0, 0, 0, 0), which covers the first cell.
    """
    height, width = guessed_size(math.prod(level), latents[0] / latents[1])
    boxes = torch.where(exists.unsqueeze(-1), boxes.float(), 0.0)
    x1, y1, x2, y2 = boxes.unsqueeze(-1).unbind(-2)
    column = torch.linspace(0, 1, width, device=boxes.device)
    row = torch.linspace(0, 1, height, device=boxes.device)
    columns, rows = (column >= x1) & (column <= x2), (row >= y1) & (row <= y2)
    return (rows[..., :, None] & columns[..., None, :]).reshape(*exists.shape, *level)


def guessed_size(cells: int, aspect: float) -> Size:
    """The (height, width) that the reference code takes a feature map of so many ``cells`` to have.

    It starts from the square root of cells / (height / width of the latents), and widens until the cells divide. Wrong
    for 5 of the 198 feature maps of the training sizes, and for about a tenth of all sizes in multiples of 8 pixels.
    """
    width = max(int(math.sqrt(cells / aspect)), 1)
    while cells % width:
        width += 1
    return cells // width, width


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
