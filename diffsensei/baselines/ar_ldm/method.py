"""Drawing pages with AR-LDM: panel after panel, each on all of its window as it was drawn."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from diffsensei.baselines.ar_ldm.history import History, HistoryEncoder
from diffsensei.config.baselines import ArLdmConfig
from diffsensei.config.schema import SamplingConfig
from diffsensei.diffusion.guidance import Predict, guided
from diffsensei.methods.method import CAPTION, GIVEN_PANEL, OTHER_PANELS, Page
from diffsensei.methods.painter import Painter
from diffsensei.methods.rollout import Turn, whole_pages
from diffsensei.training.story_batch import squashed


class ArLdm:
    """Guidance drops caption and history together."""

    name = "ar_ldm"
    consumes = frozenset({CAPTION, OTHER_PANELS, GIVEN_PANEL})
    deviations = (
        "Panels have their own sizes, drawn from a single target at a time: the objective is the same.",
        "No names are added to the vocabularies: MangaZero's identities hold within a page only.",
        "On pages longer than the window it slides, and the first panel leaves it.",
    )

    def __init__(self, painter: Painter, encoder: HistoryEncoder, config: ArLdmConfig) -> None:
        self._painter, self._encoder, self._config = painter, encoder, config

    def pieces(self, pages: Sequence[Page], sampling: SamplingConfig) -> list[list[Page]]:
        """See `Method.pieces`."""
        return whole_pages(pages, sampling.batch_size)

    def generate(
        self, pages: Sequence[Page], folder: Path, sampling: SamplingConfig
    ) -> Iterator[tuple[str, Image.Image]]:
        """See `Method.generate`. Raises ValueError for a given panel that cannot be read, or an impossible size."""
        predictor = partial(self._predictor, sampling=sampling)
        return self._painter.draw_in_turn(pages, folder, self._config.window, predictor, sampling)

    @torch.no_grad()
    def _predictor(self, turns: Sequence[Turn], sampling: SamplingConfig) -> Predict:
        unet = self._painter.unet
        history, captions = self._history(turns), [turn.panel.caption for turn in turns]
        branches = [self._encoder(captions, history, torch.full((len(turns),), nothing)) for nothing in (True, False)]
        context = torch.cat([tokens for tokens, _ in branches]).to(unet.dtype)
        visible = torch.cat([mask for _, mask in branches])

        def predict(latents: Tensor, timesteps: Tensor) -> Tensor:
            with torch.no_grad():
                noise_pred: Tensor = unet(
                    latents,
                    timesteps,
                    encoder_hidden_states=context,
                    encoder_attention_mask=visible,
                    return_dict=False,
                )[0]
            return noise_pred

        return guided(predict, (sampling.guidance_scale,))

    def _history(self, turns: Sequence[Turn]) -> History:
        count, side = max(len(turn.earlier) for turn in turns), self._config.blip.image_side
        images = torch.zeros(len(turns), count, side, side, dtype=torch.uint8)
        exists = torch.zeros(len(turns), count, dtype=torch.bool)
        for row, turn in enumerate(turns):
            exists[row, : len(turn.earlier)] = True
            for place, earlier in enumerate(turn.earlier):
                images[row, place] = torch.from_numpy(squashed(earlier.image, side))
        device = self._painter.unet.device
        captions = [[earlier.panel.caption for earlier in turn.earlier] for turn in turns]
        return History(images.to(device), captions, exists.to(device))
