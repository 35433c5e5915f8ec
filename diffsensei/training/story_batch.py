"""Panels together with those before them on the page: what methods that follow a page are trained on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from diffsensei.data.panels.page_order import PageOrder
from diffsensei.data.panels.panel_set import PanelSet
from diffsensei.data.panels.training_panels import TrainingPanels
from diffsensei.training.batch import BatchPlan, PlannedBatches
from diffsensei.training.feature_store import PanelMoments


@dataclass(frozen=True, eq=False)
class StoryBatch:
    """B panels of one bucket, each with up to K panels before it: as many as there are, oldest first, from slot 0."""

    moments: Tensor
    """(B, 2C, h, w) VAE mean and log variance of the panels, before scaling."""
    captions: tuple[str, ...]
    """(B,)."""
    earlier_images: Tensor
    """(B, K, side, side) uint8 grey, squashed to a square; 0 in empty slots."""
    earlier_captions: tuple[tuple[str, ...], ...]
    """(B, at most K)."""
    earlier_exists: Tensor
    """(B, K) bool."""
    dialog_boxes: Tensor
    """(B, M, 4) relative to the panel."""
    dialog_exists: Tensor
    """(B, M) bool."""
    time_ids: Tensor
    """(B, 6) SDXL's micro-conditions."""
    images: Tensor | None = None
    """(B, side, side) uint8: the panels themselves, squashed likewise, where they are asked for."""

    def to(self, device: torch.device) -> Self:
        return replace(
            self,
            moments=self.moments.to(device),
            earlier_images=self.earlier_images.to(device),
            earlier_exists=self.earlier_exists.to(device),
            dialog_boxes=self.dialog_boxes.to(device),
            dialog_exists=self.dialog_exists.to(device),
            time_ids=self.time_ids.to(device),
            images=None if self.images is None else self.images.to(device),
        )


class StoryBatches(PlannedBatches):
    """Every panel is a target, whatever its place on the page; ``window`` is K, ``side`` that of earlier images."""

    def __init__(
        self,
        plan: BatchPlan,
        panel_set: PanelSet,
        panels: TrainingPanels,
        moments: PanelMoments,
        *,
        window: int,
        side: int,
        max_dialogs: int,
        own_images: bool = False,
    ) -> None:
        super().__init__(plan)
        self._panel_set, self._panels, self._moments = panel_set, panels, moments
        self._window, self._side, self._max_dialogs = window, side, max_dialogs
        self._own_images = own_images
        self._order = PageOrder(panel_set.panels)

    def batch(self, step: int, part: int, device: torch.device) -> StoryBatch:
        bucket, rows, _ = self._plan.part(step, part)
        earlier = [self._order.before(int(row), self._window) for row in rows]
        images = torch.zeros(len(rows), self._window, self._side, self._side, dtype=torch.uint8)
        exists = torch.zeros(len(rows), self._window, dtype=torch.bool)
        for place, before in enumerate(earlier):
            exists[place, : len(before)] = True
            for slot, row in enumerate(before):
                images[place, slot] = self._image(int(row))
        boxes, with_dialog = self._dialogs(rows)
        return StoryBatch(
            moments=self._moments.read(bucket, rows),
            captions=self._captions(rows),
            earlier_images=images,
            earlier_captions=tuple(self._captions(before) for before in earlier),
            earlier_exists=exists,
            dialog_boxes=boxes,
            dialog_exists=with_dialog,
            time_ids=torch.from_numpy(self._panels.time_ids[rows]),
            images=torch.stack([self._image(int(row)) for row in rows]) if self._own_images else None,
        ).to(device)

    def _image(self, row: int) -> Tensor:
        return torch.from_numpy(squashed(self._panel_set.panel_image(row), self._side))

    def _captions(self, rows: Sequence[int] | NDArray[np.int64]) -> tuple[str, ...]:
        return tuple(self._panels.captions[row] for row in self._panels.panel_captions[rows])

    def _dialogs(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        boxes = torch.zeros(len(rows), self._max_dialogs, 4)
        exists = torch.zeros(len(rows), self._max_dialogs, dtype=torch.bool)
        for place, row in enumerate(rows):
            found = np.arange(self._panels.dialog_starts[row], self._panels.dialog_starts[row + 1])
            found = found[self._panels.dialog_usable[found]][: self._max_dialogs]
            boxes[place, : len(found)] = torch.from_numpy(self._panels.dialog_boxes[found])
            exists[place, : len(found)] = True
        return boxes, exists


def squashed(image: NDArray[np.uint8] | Image.Image, side: int) -> NDArray[np.uint8]:
    """A grey image (side, side), its aspect given up (bicubic)."""
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    return np.array(picture.convert("L").resize((side, side), Image.Resampling.BICUBIC))
