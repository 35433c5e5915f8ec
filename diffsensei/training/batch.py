"""From (step, part of the global batch) to the tensors of one forward pass (paper sec. 4.1)."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffsensei.config.schema import ConditioningConfig
from diffsensei.data.panels.conditioning import PanelConditions, sample_caption, sample_conditions
from diffsensei.data.panels.training_panels import TrainingPanels
from diffsensei.models.conditions import Conditions, Layout
from diffsensei.training.batch_plan import BatchPlan
from diffsensei.training.feature_store import CharacterFeatures, PanelMoments, TextFeatures


@dataclass(frozen=True, eq=False)
class CharacterImages:
    """Image features of B x N character slots; those of absent slots are 0."""

    clip_tokens: Tensor
    """(B, N, S, clip_dim)."""
    magi_cls: Tensor
    """(B, N, magi_dim)."""

    def to(self, device: torch.device) -> Self:
        return replace(self, clip_tokens=self.clip_tokens.to(device), magi_cls=self.magi_cls.to(device))


@dataclass(frozen=True, eq=False)
class PanelBatch:
    """B panels of one bucket."""

    moments: Tensor
    """(B, 2C, h, w) VAE mean and log variance, before scaling."""
    conditions: Conditions
    """Text and layout; the character tokens are the objective's to compute."""
    references: CharacterImages | None = None
    """What each character slot is to look like; None in text-to-image training."""
    targets: CharacterImages | None = None
    """The same characters as they look in these panels: what the MLLM adapter learns to predict."""
    captions: tuple[str, ...] = ()
    """The panels' own captions, also where the text condition was dropped; only with ``targets``."""

    def to(self, device: torch.device) -> Self:
        return replace(
            self,
            moments=self.moments.to(device),
            conditions=self.conditions.to(device),
            references=None if self.references is None else self.references.to(device),
            targets=None if self.targets is None else self.targets.to(device),
        )


class PlannedBatches:
    """Batches whose sizes a `BatchPlan` decides; what is in them, their children."""

    def __init__(self, plan: BatchPlan) -> None:
        self._plan = plan

    def num_parts(self, step: int) -> int:
        """As `BatchPlan.num_parts`."""
        return self._plan.num_parts(step)

    def num_items(self, step: int) -> int:
        """As `BatchPlan.num_items`."""
        return self._plan.num_items(step)


class CaptionedBatches(PlannedBatches):
    """Panels with captions: what text-to-image training sees."""

    def __init__(
        self,
        plan: BatchPlan,
        panels: TrainingPanels,
        moments: PanelMoments,
        text: TextFeatures,
        caption_drop_rate: float,
    ) -> None:
        super().__init__(plan)
        self._panels, self._moments, self._text = panels, moments, text
        self._caption_drop_rate = caption_drop_rate

    def batch(self, step: int, part: int, device: torch.device) -> PanelBatch:
        bucket, rows, streams = self._plan.part(step, part)
        captions = [
            sample_caption(self._panels, int(row), self._caption_drop_rate, stream)
            for row, stream in zip(rows, streams, strict=True)
        ]
        return PanelBatch(
            moments=self._moments.read(bucket, rows),
            conditions=_text_conditions(self._panels, self._text, rows, np.array(captions)),
        ).to(device)


class ConditionedBatches(PlannedBatches):
    """Panels with captions, characters and dialogs; for the MLLM adapter also with the characters to predict."""

    def __init__(
        self,
        plan: BatchPlan,
        panels: TrainingPanels,
        moments: PanelMoments,
        text: TextFeatures,
        characters: CharacterFeatures,
        conditioning: ConditioningConfig,
        *,
        with_targets: bool,
    ) -> None:
        """``with_targets`` also orders characters by area, largest first, as the reference does for the adapter."""
        super().__init__(plan)
        self._panels, self._moments, self._text = panels, moments, text
        self._characters, self._conditioning, self._with_targets = characters, conditioning, with_targets

    def batch(self, step: int, part: int, device: torch.device) -> PanelBatch:
        bucket, rows, streams = self._plan.part(step, part)
        draws = [
            sample_conditions(self._panels, int(row), self._conditioning, stream, largest_first=self._with_targets)
            for row, stream in zip(rows, streams, strict=True)
        ]
        text = _text_conditions(self._panels, self._text, rows, np.array([draw.caption for draw in draws]))
        layout = self._layout(draws)
        targets = None
        captions: tuple[str, ...] = ()
        if self._with_targets:
            own = [self._panels.own_crops[draw.characters] for draw in draws]
            targets = self._images(layout, own, [np.zeros(len(crops), np.bool_) for crops in own])
            captions = tuple(self._panels.captions[row] for row in self._panels.panel_captions[rows])
        return PanelBatch(
            moments=self._moments.read(bucket, rows),
            conditions=replace(text, layout=layout),
            references=self._images(layout, [draw.crops for draw in draws], [draw.mirrored for draw in draws]),
            targets=targets,
            captions=captions,
        ).to(device)

    def _layout(self, draws: list[PanelConditions]) -> Layout:
        layout = Layout.empty(len(draws), self._conditioning.max_characters, self._conditioning.max_dialogs)
        for panel, draw in enumerate(draws):
            characters, dialogs = len(draw.characters), len(draw.dialogs)
            layout.character_boxes[panel, :characters] = torch.from_numpy(self._panels.character_boxes[draw.characters])
            layout.character_exists[panel, :characters] = True
            layout.dialog_boxes[panel, :dialogs] = torch.from_numpy(self._panels.dialog_boxes[draw.dialogs])
            layout.dialog_exists[panel, :dialogs] = True
        return layout

    def _images(
        self, layout: Layout, crops: list[NDArray[np.int64]], mirrored: list[NDArray[np.bool_]]
    ) -> CharacterImages:
        exists = layout.character_exists
        clip_tokens, magi_cls = self._characters(np.concatenate(crops), np.concatenate(mirrored))
        exists = exists.to(clip_tokens.device)
        dense_clip = clip_tokens.new_zeros(*exists.shape, *clip_tokens.shape[1:])
        dense_magi = magi_cls.new_zeros(*exists.shape, *magi_cls.shape[1:])
        dense_clip[exists], dense_magi[exists] = clip_tokens, magi_cls
        return CharacterImages(dense_clip, dense_magi)


def _text_conditions(
    panels: TrainingPanels, text: TextFeatures, rows: NDArray[np.int64], captions: NDArray[np.int64]
) -> Conditions:
    text_tokens, pooled = text(captions)
    return Conditions(text_tokens=text_tokens, pooled_text=pooled, time_ids=torch.from_numpy(panels.time_ids[rows]))
