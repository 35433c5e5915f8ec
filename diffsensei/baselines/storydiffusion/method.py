"""Drawing pages with StoryDiffusion: the identity panels together, then each further panel after them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from diffsensei.baselines.storydiffusion.sharing import Following, Schedule, Sharing, Together, share_self_attention
from diffsensei.config.baselines import SharingConfig
from diffsensei.config.schema import SamplingConfig
from diffsensei.diffusion.guidance import Predict, guided
from diffsensei.methods.canvas import OnCanvas, fit_to_panel
from diffsensei.methods.image_generator import ImageGenerator
from diffsensei.methods.method import CAPTION, OTHER_PANELS, Page, Panel
from diffsensei.methods.rollout import to_draw, whole_pages
from diffsensei.models.conditions import Conditions
from diffsensei.seeding import stream_seed


class StoryDiffusion:
    """Training-free: ``generator`` is the manga text-to-image model, whose self-attention is made to share."""

    name = "storydiffusion"
    consumes = frozenset({CAPTION, OTHER_PANELS})
    deviations = (
        "No reference panel and no PhotoMaker: the published code takes a photograph of a person only.",
        "No style template and no FreeU, which belong to the published demo rather than to the method.",
        "All panels of a page are drawn square at one size, then scaled and cropped to their shapes.",
    )

    def __init__(self, generator: ImageGenerator, config: SharingConfig) -> None:
        self.generator, self._config = generator, config
        share_self_attention(generator.unet)

    def pieces(self, pages: Sequence[Page], sampling: SamplingConfig) -> list[list[Page]]:
        """See `Method.pieces`: a page at a time, as its panels read only one another."""
        return whole_pages(pages, 1)

    def generate(
        self, pages: Sequence[Page], folder: Path, sampling: SamplingConfig
    ) -> Iterator[tuple[str, Image.Image]]:
        """See `Method.generate`. Raises ValueError for a page side that cannot be drawn."""
        for page in pages:
            yield from self._page(to_draw([page]), sampling)

    def _page(self, panels: Sequence[Panel], sampling: SamplingConfig) -> Iterator[tuple[str, Image.Image]]:
        side = self._config.page_side
        canvas = [OnCanvas(panel, side, side) for panel in panels]
        count = self._config.identity_panels
        first, later = canvas[:count], canvas[count:]
        if not first:
            return
        schedule = Schedule(self._config, stream_seed(first[0].seed, "page"))
        together = Together(schedule, len(first))
        yield from self._batch(first, together, sampling)
        for start in range(0, len(later), sampling.batch_size):
            yield from self._batch(
                later[start : start + sampling.batch_size], Following(schedule, together.bank), sampling
            )

    def _batch(
        self, panels: Sequence[OnCanvas], sharing: Sharing, sampling: SamplingConfig
    ) -> Iterator[tuple[str, Image.Image]]:
        painter = self.generator.painter
        painter.check_size(panels[0], sampling)
        latents = painter.sample(panels, self._predictor(panels, sharing, sampling), sampling)
        for panel, image in zip(panels, painter.decode(latents), strict=True):
            yield panel.panel_id, fit_to_panel(image, panel.panel)

    def _predictor(self, panels: Sequence[Panel], sharing: Sharing, sampling: SamplingConfig) -> Predict:
        """The guided noise estimate; every call is one denoising step further."""
        unet = self.generator.unet
        branches = self.generator.text_conditions(panels, sampling.negative_prompt)
        conditions = Conditions.concatenated(branches).to(unet.device, unet.dtype)
        added = {"text_embeds": conditions.pooled_text, "time_ids": conditions.time_ids}

        def predict(latents: Tensor, timesteps: Tensor) -> Tensor:
            with torch.no_grad():
                noise_pred: Tensor = unet(
                    latents,
                    timesteps,
                    encoder_hidden_states=conditions.text_tokens,
                    added_cond_kwargs=added,
                    cross_attention_kwargs={"condition": sharing},
                    return_dict=False,
                )[0]
            sharing.step += 1
            return noise_pred

        return guided(predict, (sampling.guidance_scale,))
