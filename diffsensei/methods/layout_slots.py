"""Boxes of panels in the slots of a batch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from diffsensei.methods.method import Box, Panel
from diffsensei.models.conditions import Layout


def require_slots(panels: Sequence[Panel], num_slots: int) -> None:
    """Raise ValueError for a panel with more characters than a network has slots for."""
    for panel in panels:
        if len(panel.characters) > num_slots:
            raise ValueError(
                f"panel {panel.panel_id}: expected at most {num_slots} characters, got {len(panel.characters)}; "
                "leave the smallest out"
            )


def layout_of(panels: Sequence[Panel], num_slots: int, num_dialogs: int) -> Layout:
    """Boxes of a batch, padded to ``num_slots`` characters and ``num_dialogs`` dialogs."""
    characters = [[character.box for character in panel.characters] for panel in panels]
    dialogs = [list(panel.dialogs) for panel in panels]
    return Layout(*_padded(characters, num_slots), *_padded(dialogs, num_dialogs))


def _padded(boxes: Sequence[Sequence[Box]], count: int) -> tuple[Tensor, Tensor]:
    """Boxes (B, count, 4) and which of them exist (B, count)."""
    filled = [[*row, *[(0.0, 0.0, 0.0, 0.0)] * (count - len(row))] for row in boxes]
    exists = [[slot < len(row) for slot in range(count)] for row in boxes]
    return torch.tensor(filled, dtype=torch.float32), torch.tensor(exists)
