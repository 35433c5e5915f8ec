"""Panels of several pages drawn with DiffSensei: batches by size with kept conditions, against one panel at a time."""

import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffsensei.config.presets import tiny
from diffsensei.config.schema import SamplingConfig
from diffsensei.diffusion.guidance import Predict, guided
from diffsensei.diffusion.noise_schedule import NOISE_SCHEDULE
from diffsensei.foundations.loading import load_clip_image_encoder, load_magi_image_encoder, load_text_encoder, load_vae
from diffsensei.methods.character_encoder import CharacterEncoder
from diffsensei.methods.diffsensei import DiffSensei
from diffsensei.methods.image_generator import ImageGenerator
from diffsensei.models.conditions import Conditions
from diffsensei.models.resampler import Resampler
from diffsensei.models.text import text_widths
from diffsensei.models.unet import add_manga_conditions, predict_noise
from diffsensei.training.initial_weights import initial_unet
from tests.baselines.asked import Asked, Person
from tests.benchmarks.interleaved import Case

from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler  # isort: skip

NUM_PAGES, STEPS = 8, 4
SIZES = ((64, 64), (56, 72), (72, 56))
"""Three panels to a page, each page alike."""
GOAL = 3.0

Page = tuple[Asked, ...]


class Afresh(ImageGenerator):
    """Computes masks, keys and values of the conditions at every step (reference code)."""

    def predictor(self, negative: Conditions, positive: Conditions, sampling: SamplingConfig) -> Predict:
        conditions = Conditions.concatenated([negative, positive])

        def predict(latents: Tensor, timesteps: Tensor) -> Tensor:
            with torch.no_grad():
                return predict_noise(
                    self.unet, latents, timesteps, conditions, character_scale=sampling.character_scale
                )

        return guided(predict, (sampling.guidance_scale,))


def cases() -> Iterator[Case]:
    folder = tempfile.TemporaryDirectory()
    image = np.random.default_rng(0).integers(0, 256, (48, 32), dtype=np.uint8)
    Image.fromarray(image).save(Path(folder.name) / "a.png")
    sampling = tiny().sampling.replaced(steps=STEPS)
    method, pages = _method(), [_page(number) for number in range(NUM_PAGES)]
    plain = partial(_one_by_one, _afresh(method), pages, folder, sampling)
    ours = partial(_together, method, pages, folder, sampling)
    yield Case(
        name=f"{NUM_PAGES} pages of {len(SIZES)} panels, {STEPS} steps of the tiny UNet, guided",
        check=partial(_check, plain, ours),
        plain=plain,
        ours=ours,
        goal=GOAL,
    )


Folder = tempfile.TemporaryDirectory[str]
"""Held by the calls, so that it lives as long as they do."""
Images = dict[str, Image.Image]


def _one_by_one(method: DiffSensei, pages: Sequence[Page], folder: Folder, sampling: SamplingConfig) -> Images:
    panels = [panel for page in pages for panel in page]
    return {
        name: image
        for panel in panels
        for name, image in method.generate([[panel]], Path(folder.name), sampling.replaced(batch_size=1))
    }


def _together(method: DiffSensei, pages: Sequence[Page], folder: Folder, sampling: SamplingConfig) -> Images:
    pieces = method.pieces(pages, sampling)
    return {name: image for piece in pieces for name, image in method.generate(piece, Path(folder.name), sampling)}


def _check(plain: partial[Images], ours: partial[Images]) -> None:
    """The same panels, but for the rounding of larger batches."""
    alone, together = plain(), ours()
    assert alone.keys() == together.keys()
    assert len({image.tobytes() for image in alone.values()}) == len(alone), "no two panels are the same"
    for name, image in alone.items():
        assert np.abs(np.asarray(image, int) - np.asarray(together[name], int)).max() <= 1, name


def _page(number: int) -> Page:
    characters = (Person((0.1, 0.1, 0.6, 0.9), "a.png"),)
    dialogs = ((0.6, 0.0, 1.0, 0.4),)
    return tuple(
        Asked(f"{number}-{place}", f"panel {place} of page {number}", *size, characters, dialogs, seed=number)
        for place, size in enumerate(SIZES)
    )


def _method() -> DiffSensei:
    torch.manual_seed(0)
    model = tiny().model
    names = model.foundations
    encoders = [load_text_encoder(name) for name in (names.text_encoder, names.text_encoder_2)]
    width, pooled = text_widths(encoders)
    unet = initial_unet(names.unet, model.unet, in_channels=4, cross_attention_dim=width, pooled_dim=pooled)
    add_manga_conditions(unet, model.resampler.num_queries)
    clip, magi = load_clip_image_encoder(names.clip_image_encoder), load_magi_image_encoder(names.magi_image_encoder)
    resampler = Resampler(
        **model.resampler.model_dump(),
        clip_dim=clip.model.config.hidden_size,
        magi_dim=magi.model.config.hidden_size,
        output_dim=width,
    )
    generator = ImageGenerator(
        load_vae(names.vae), encoders, unet.eval().requires_grad_(False), EulerDiscreteScheduler(**NOISE_SCHEDULE)
    )
    return DiffSensei(generator, CharacterEncoder(clip, magi, resampler.eval().requires_grad_(False)))


def _afresh(method: DiffSensei) -> DiffSensei:
    own = method.generator
    return DiffSensei(Afresh(own.vae, own.text_encoders, own.unet, own.scheduler), method.characters)
