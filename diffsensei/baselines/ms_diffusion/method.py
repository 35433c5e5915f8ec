"""Drawing panels with MS-Diffusion: each by itself, subjects in their boxes."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffsensei.baselines.ms_diffusion.grounding import GroundingResampler
from diffsensei.config.schema import SamplingConfig
from diffsensei.methods.image_generator import Branches, ImageGenerator
from diffsensei.methods.layout_slots import layout_of, require_slots
from diffsensei.methods.method import CAPTION, CHARACTER_BOXES, CHARACTER_IMAGES, DIALOG_BOXES, Page, Panel
from diffsensei.methods.reference_image import read_reference
from diffsensei.methods.rollout import single_panels, to_draw
from diffsensei.models.character_features import ImageEncoder, clip_tokens_of
from diffsensei.models.conditions import Layout

FROZEN = "The frozen base is the manga text-to-image model: a stock SDXL draws no manga."
TRAINED = (
    "The UNet, at first the manga text-to-image model, is trained as in DiffSensei's stage 1; the published method "
    "freezes it, and a frozen one hardly learns bubbles from DiffSensei's dialog embedding."
)
OWN_CROPS = (
    "The training references are the panel's own crops, as the paper says; in evaluation they are the benchmark's."
)
RELEASED = "The released adapter, trained on a stock SDXL, works on the manga text-to-image model."


class MsDiffusion:
    """Subjects by image and box; dialogs too where the network has them (the paper's dagger)."""

    deviations: tuple[str, ...] = (
        "MangaZero has no phrases for subjects, so all have the same one.",
        "The pseudo-mask and per-subject scales of the published demo are left out.",
    )

    def __init__(
        self,
        generator: ImageGenerator,
        clip: ImageEncoder,
        grounding: GroundingResampler,
        phrase: Tensor,
        *,
        deviations_of_training: tuple[str, ...],
    ) -> None:
        """``phrase`` (phrase_dim,) is the text encoder's vector of what all subjects are called; ``clip`` sees images
        whole (`references.squashing`)."""
        self.deviations = (*deviations_of_training, *self.deviations)
        self._conditions = generator.unet.config["manga_conditions"]
        with_dialogs = self._conditions["dialogs"] != "none"
        self.name = "ms_diffusion_dialogs" if with_dialogs else "ms_diffusion"
        self.consumes = frozenset(
            {CAPTION, CHARACTER_IMAGES, CHARACTER_BOXES} | ({DIALOG_BOXES} if with_dialogs else set())
        )
        self.generator, self._clip, self._grounding, self._phrase = generator, clip, grounding, phrase

    def pieces(self, pages: Sequence[Page], sampling: SamplingConfig) -> list[list[Page]]:
        """See `Method.pieces`."""
        return single_panels(pages, sampling.batch_size)

    def generate(
        self, pages: Sequence[Page], folder: Path, sampling: SamplingConfig
    ) -> Iterator[tuple[str, Image.Image]]:
        """See `Method.generate`. Raises ValueError for a missing reference or too many characters."""
        panels = to_draw(pages)
        num_slots = int(self._conditions["max_characters"])
        require_slots(panels, num_slots)
        num_dialogs = max([1, *(len(panel.dialogs) for panel in panels)])
        read = lru_cache(maxsize=None)(lambda name: read_reference(folder / name))

        def condition(batch: Sequence[Panel]) -> Branches:
            negative, positive = self.generator.text_conditions(batch, sampling.negative_prompt)
            device = positive.text_tokens.device
            layout = layout_of(batch, num_slots, num_dialogs).to(device)
            images = [read(character.reference) for panel in batch for character in panel.characters]
            tokens = self._tokens(images, layout)
            nothing = Layout.empty(len(batch), num_slots, num_dialogs, device)
            return (
                replace(negative, character_tokens=torch.zeros_like(tokens), layout=nothing),
                replace(positive, character_tokens=tokens, layout=layout),
            )

        return self.generator.draw(panels, condition, sampling)

    @torch.no_grad()
    def _tokens(self, images: list[np.ndarray], layout: Layout) -> Tensor:
        """Subject tokens (B, Q + N*Q, C); ``images`` are those of the existing slots in order."""
        exists = layout.character_exists
        found = clip_tokens_of(self._clip, images)
        dense = found.new_zeros(*exists.shape, *found.shape[1:])
        dense[exists] = found
        grounded = torch.ones(len(exists), dtype=torch.bool, device=exists.device)
        phrase = self._phrase.to(found.device, found.dtype)
        return self._grounding(dense, layout.character_boxes, exists, phrase, grounded)
