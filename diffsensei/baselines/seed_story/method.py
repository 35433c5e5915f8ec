"""Telling and drawing pages with SEED-Story: the language model tells all panels, the de-tokenizer draws them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch
from PIL import Image
from torch import Tensor

from diffsensei.baselines.seed_story.detokenizer import FeatureResampler
from diffsensei.baselines.seed_story.language import StoryLanguage
from diffsensei.baselines.seed_story.visual import VisualEncoder
from diffsensei.config.schema import SamplingConfig
from diffsensei.methods.image_generator import Branches, ImageGenerator
from diffsensei.methods.method import CAPTION, GIVEN_PANEL, OTHER_PANELS, Page, Panel
from diffsensei.methods.reference_image import read_reference
from diffsensei.methods.rollout import to_draw, whole_pages
from diffsensei.models.conditions import Conditions, micro_conditions
from diffsensei.training.story_batch import squashed

Captions = Literal["own", "given"]


NO_FIRST_STAGE = (
    "Its first stage is left out: the de-tokenizer starts from the manga text-to-image model and learns what blank "
    "features are from dropped ones."
)
OTHER_LLAMA = "The language model starts from the configured Llama; the published one has a 7B foundation of its own."


class SeedStory:
    """With its ``own`` captions it writes what happens next itself, as the paper had it; or captions are ``given``."""

    deviations: tuple[str, ...] = (
        "No attention sink: the published code computes it and never uses it; pages are shorter than the window.",
        "Panels are drawn at their own sizes; the published de-tokenizer draws squares.",
    )

    def __init__(
        self,
        language: StoryLanguage,
        visual: VisualEncoder,
        resampler: FeatureResampler,
        generator: ImageGenerator,
        *,
        captions: Captions,
        window: int,
        max_written_tokens: int,
        deviations_of_training: tuple[str, ...],
    ) -> None:
        self.deviations = (*visual.deviations, *deviations_of_training, *self.deviations)
        self.name = "seed_story" if captions == "own" else "seed_story_given"
        self.consumes = frozenset({OTHER_PANELS, GIVEN_PANEL} | ({CAPTION} if captions == "given" else set()))
        self._language, self._visual, self._resampler, self._generator = language, visual, resampler, generator
        self._captions, self._window, self._max_written_tokens = captions, window, max_written_tokens

    def pieces(self, pages: Sequence[Page], sampling: SamplingConfig) -> list[list[Page]]:
        """See `Method.pieces`."""
        return whole_pages(pages, sampling.batch_size)

    def generate(
        self, pages: Sequence[Page], folder: Path, sampling: SamplingConfig
    ) -> Iterator[tuple[str, Image.Image]]:
        """See `Method.generate`. Raises ValueError for a given panel that cannot be read, or an impossible size."""
        features: dict[str, Tensor] = {}
        for page in pages:
            features |= self._tell(page, folder)

        def condition(batch: Sequence[Panel]) -> Branches:
            told = torch.stack([features[panel.panel_id] for panel in batch])
            blank = self._visual.blank().to(told.device, told.dtype).expand_as(told)
            return self._conditions(blank, batch), self._conditions(told, batch)

        # Panels of all pages in common batches: what is told decides them, no longer what was drawn before.
        return self._generator.draw(to_draw(pages), condition, sampling)

    @torch.no_grad()
    def _tell(self, page: Page, folder: Path) -> dict[str, Tensor]:
        """Features (P, D) of every panel that is to be drawn. What was told is read again as it was told."""
        told: dict[str, Tensor] = {}
        captions: list[list[int]] = []
        prompts = self._language.prompts
        context = self._visual.blank().unsqueeze(0)[:0]
        for panel in page:
            if panel.given:
                image = squashed(read_reference(folder / panel.given), self._visual.side)
                features = self._visual.encode(torch.from_numpy(image)[None].to(context.device))
                captions.append(prompts.caption_ids(panel.caption))
            else:
                recent, seen = captions[-self._window :], context[-self._window :]
                caption = (
                    prompts.caption_ids(panel.caption)
                    if self._captions == "given"
                    else self._language.write_caption(recent, seen, self._max_written_tokens)
                )
                features = self._language([recent], [caption], seen).features.float()
                told[panel.panel_id] = features[0]
                captions.append(caption)
            context = torch.cat([context, features.to(context.dtype)])
        return told

    @torch.no_grad()
    def _conditions(self, features: Tensor, panels: Sequence[Panel]) -> Conditions:
        prompt, pooled = self._resampler(features)
        sizes = [(panel.height, panel.width) for panel in panels]
        time_ids = torch.tensor([micro_conditions(size, (0, 0), size) for size in sizes], device=prompt.device)
        return Conditions(prompt, pooled, time_ids)
