"""Drawing pages with StoryGen: panel after panel, each reading those before it."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from diffsensei.baselines.stable_diffusion import encode_captions
from diffsensei.baselines.storygen.context import Read
from diffsensei.baselines.storygen.objective import EarlierPanels, context_features, encode_earlier, latent_shape
from diffsensei.baselines.storygen.pixels import PixelRange
from diffsensei.config.baselines import StoryGenConfig
from diffsensei.config.schema import SamplingConfig
from diffsensei.diffusion.guidance import Predict, guided
from diffsensei.methods.method import CAPTION, GIVEN_PANEL, OTHER_PANELS, Page
from diffsensei.methods.painter import Painter
from diffsensei.methods.rollout import Turn, whole_pages
from diffsensei.models.diffusion_loss import Noising
from diffsensei.models.text import TextEncoder
from diffsensei.seeding import stream_seed
from diffsensei.training.story_batch import squashed

SIGNED = "Earlier panels are read in [-1, 1], which the published code means to do and does not."


class StoryGen:
    """Guidance has three branches: nothing, the earlier panels, the caption as well."""

    name = "storygen"
    consumes = frozenset({CAPTION, OTHER_PANELS, GIVEN_PANEL})
    deviations: tuple[str, ...] = (
        "Panels have their own sizes; the published code is bound to 512 x 512.",
        "A panel with fewer earlier ones than a training batch reads gets blank ones, as when they are dropped.",
    )

    def __init__(
        self,
        painter: Painter,
        text_encoder: TextEncoder,
        config: StoryGenConfig,
        pixel_range: PixelRange = "signed",
    ) -> None:
        """``pixel_range`` is what the weights were trained to read earlier panels in."""
        self._pixel_range = pixel_range
        if pixel_range == "signed":
            self.deviations = (*self.deviations, SIGNED)
        self._painter, self._text, self._config = painter, text_encoder, config
        self._noising = Noising(painter.vae.config["scaling_factor"]).to(painter.unet.device)

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
        """e = e_0 + s_img (e_img - e_0) + s_text (e_all - e_img); without earlier panels, plain guidance."""
        unet = self._painter.unet
        captions = [turn.panel.caption for turn in turns]
        nothing, asked = self._encoded([""] * len(turns)), self._encoded(captions)
        count = len(turns[0].earlier)
        assert all(len(turn.earlier) == count for turn in turns), "panels of one round have equally many before them"
        if not count:
            text = torch.cat([nothing, asked])
            return guided(lambda latents, time: self._predict(latents, time, text, None), (sampling.guidance_scale,))

        earlier = self._earlier(turns)
        shape = latent_shape(self._painter.vae, earlier.images)
        draws = torch.stack([_draws(turn.panel.seed, shape[1:]) for turn in turns], dim=1).to(unet.device)
        blank = EarlierPanels(earlier.images, (("",) * count,) * len(turns), torch.zeros_like(earlier.exists))
        both = [blank, earlier]
        scaling_factor = self._painter.vae.config["scaling_factor"]
        latents = torch.cat(
            [encode_earlier(self._painter.vae, part, scaling_factor, draws[0], self._pixel_range) for part in both]
        )
        noise = draws[1, :, :1].expand_as(draws[1]).repeat(2, 1, 1, 1, 1)
        context_text = torch.cat([self._encoded(part.flat_captions()) for part in both])
        text = torch.cat([nothing, nothing, asked])

        def predict_all(panels: Tensor, timesteps: Tensor) -> Tensor:
            at = timesteps[: 2 * len(turns)].long()
            with torch.no_grad():
                kept = context_features(unet, self._noising, latents, noise, at, context_text)
            # The branch without anything reads blanks; the other two read the same earlier panels.
            features = {layer: torch.cat([f, f[len(turns) :]]) for layer, f in kept.items()}
            return self._predict(panels, timesteps, text, Read(features))

        return guided(predict_all, (self._config.context_guidance_scale, sampling.guidance_scale))

    def _predict(self, latents: Tensor, timesteps: Tensor, text: Tensor, condition: Read | None) -> Tensor:
        with torch.no_grad():
            noise_pred: Tensor = self._painter.unet(
                latents,
                timesteps,
                encoder_hidden_states=text,
                cross_attention_kwargs={"condition": condition},
                return_dict=False,
            )[0]
        return noise_pred

    def _encoded(self, captions: list[str]) -> Tensor:
        return encode_captions(self._text, captions)[0].to(self._painter.unet.dtype)

    def _earlier(self, turns: Sequence[Turn]) -> EarlierPanels:
        images = torch.stack(
            [
                torch.stack([torch.from_numpy(squashed(e.image, self._config.context_side)) for e in turn.earlier])
                for turn in turns
            ]
        ).to(self._painter.unet.device)
        captions = tuple(tuple(e.panel.caption for e in turn.earlier) for turn in turns)
        return EarlierPanels(images, captions, torch.ones(images.shape[:2], dtype=torch.bool, device=images.device))


def _draws(seed: int, shape: tuple[int, ...]) -> Tensor:
    """(2, n, C, h, w): posterior and reference noise of one panel, drawn once and used at every step."""
    generator = torch.Generator().manual_seed(stream_seed(seed, "earlier panels"))
    return torch.randn(2, *shape, generator=generator)
