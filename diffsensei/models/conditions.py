"""What a panel is drawn from, as tensors (paper sec. 4.1; SDXL micro-conditions sec. 2.2 of its report).

Legend: B panels, N character slots, Q tokens per character, D = Q background tokens, M dialog slots, T text tokens,
C cross-attention width, P pooled text width. Boxes are xyxy relative to the panel and may leave [0, 1].
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor


class _Batch:
    """A frozen dataclass of tensors (or of such dataclasses, or None) that share their first axis."""

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """Move to ``device``; embeddings also take ``dtype``, while boxes, flags and time ids keep theirs.

        Sizes and coordinates lose whole pixels in half precision.
        """
        changed: dict[str, object] = {}
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if isinstance(value, _Batch):
                changed[field.name] = value.to(device, dtype)
            elif value is not None:
                changed[field.name] = value.to(device=device, dtype=dtype if field.name in _EMBEDDINGS else None)
        return type(self)(**changed)

    def __getitem__(self, rows: slice | Tensor) -> Self:
        """The panels that ``rows`` selects."""
        picked = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return type(self)(**{name: None if value is None else value[rows] for name, value in picked.items()})

    @classmethod
    def concatenated(cls, parts: Sequence[Self]) -> Self:
        """``parts`` behind one another; a field must be None in all of them or in none."""
        joined: dict[str, object] = {}
        for field in fields(cls):  # type: ignore[arg-type]
            values = [getattr(part, field.name) for part in parts]
            if all(value is None for value in values):
                joined[field.name] = None
            elif isinstance(values[0], _Batch):
                joined[field.name] = type(values[0]).concatenated(values)
            else:
                joined[field.name] = torch.cat(values)
        return cls(**joined)


_EMBEDDINGS = frozenset({"text_tokens", "pooled_text", "character_tokens"})


@dataclass(frozen=True, eq=False)
class Layout(_Batch):
    """Where characters and dialogs are. Slots that do not exist, and boxes without area, count for nothing."""

    character_boxes: Tensor
    """(B, N, 4) float."""
    character_exists: Tensor
    """(B, N) bool."""
    dialog_boxes: Tensor
    """(B, M, 4) float."""
    dialog_exists: Tensor
    """(B, M) bool."""

    @classmethod
    def empty(cls, batch: int, num_characters: int, num_dialogs: int, device: torch.device | str = "cpu") -> Self:
        """A layout whose slots are all absent."""
        return cls(
            character_boxes=torch.zeros(batch, num_characters, 4, device=device),
            character_exists=torch.zeros(batch, num_characters, dtype=torch.bool, device=device),
            dialog_boxes=torch.zeros(batch, num_dialogs, 4, device=device),
            dialog_exists=torch.zeros(batch, num_dialogs, dtype=torch.bool, device=device),
        )


@dataclass(frozen=True, eq=False)
class Conditions(_Batch):
    """Everything the UNet is told about B panels. Without a layout it is plain SDXL text-to-image."""

    text_tokens: Tensor
    """(B, T, C)."""
    pooled_text: Tensor
    """(B, P)."""
    time_ids: Tensor
    """(B, 6) float32, see `micro_conditions`."""
    character_tokens: Tensor | None = None
    """(B, D + N*Q, C): background tokens, then those of each character slot."""
    layout: Layout | None = None

    def __post_init__(self) -> None:
        assert self.character_tokens is None or self.layout is not None, "character tokens need a layout"


def micro_conditions(original: Sequence[int], crop: Sequence[int], target: Sequence[int]) -> list[float]:
    """SDXL's six numbers: original (height, width), crop (top, left) after the resize, target (height, width)."""
    return [float(value) for value in (*original, *crop, *target)]
