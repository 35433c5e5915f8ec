"""How each embedded foundation is trained, stored and measured, and the drawn panels they share."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers.image_processing_utils import BaseImageProcessor

from diffsensei.foundations.detector import train_detector
from diffsensei.foundations.drawn_pool import BUCKETS, LARGE_BUCKETS, Crop, PoolPanel, crops, pool
from diffsensei.foundations.image_encoders import patch_order, train_clip_image_encoder, train_magi_image_encoder
from diffsensei.foundations.judges import train_judge_clip, train_judge_dino
from diffsensei.foundations.labels import LOOKS, crop_labels
from diffsensei.foundations.language_model import train_language_model
from diffsensei.foundations.loading import load_text_encoder, load_vae
from diffsensei.foundations.quality import (
    Figures,
    autoencoder_figures,
    detector_figures,
    identity_figures,
    language_figures,
    probe_figures,
    retrieval_figures,
)
from diffsensei.foundations.recipes import FoundationRecipes, TextRecipe, UNetRecipe
from diffsensei.foundations.states import state_crops, state_figures, train_state_probe
from diffsensei.foundations.text import TOWER_SIDE, tokenised, train_text_encoder
from diffsensei.foundations.unet import train_unet, unet_figures
from diffsensei.foundations.vae import train_vae
from diffsensei.foundations.views import as_input, square_processor, squashed
from diffsensei.progress import Progress

_PROBED_CROPS = 4000
_BATCH = 64


@dataclass(frozen=True)
class Studio:
    """The drawn panels the parts share, each pool drawn when first asked for, and the parts that are finished."""

    recipes: FoundationRecipes
    workspace: Path

    def part(self, name: str) -> Path:
        """Where part ``name`` lies, or will."""
        return self.workspace / "parts" / name

    @cached_property
    def conditioning(self) -> list[PoolPanel]:
        return pool(self.recipes.conditioning_pool, self.workspace)

    @cached_property
    def conditioning_large(self) -> list[PoolPanel]:
        return pool(self.recipes.conditioning_pool_large, self.workspace)

    @cached_property
    def drawing(self) -> list[PoolPanel]:
        return pool(self.recipes.drawing_pool, self.workspace)

    @cached_property
    def judging(self) -> list[PoolPanel]:
        return pool(self.recipes.judging_pool, self.workspace)

    @cached_property
    def judging_large(self) -> list[PoolPanel]:
        return pool(self.recipes.judging_pool_large, self.workspace)

    @cached_property
    def held_out(self) -> list[PoolPanel]:
        return pool(self.recipes.held_out_pool, self.workspace)

    @cached_property
    def held_out_large(self) -> list[PoolPanel]:
        return pool(self.recipes.held_out_pool_large, self.workspace)


def _vae(studio: Studio, recipe: Any, progress: Progress, folder: Path) -> Figures:
    model = train_vae(recipe, studio.conditioning, studio.conditioning_large, progress)
    _save(model, folder / "vae")
    large = autoencoder_figures(model, studio.held_out_large, LARGE_BUCKETS)
    return autoencoder_figures(model, studio.held_out) | {f"large_{name}": value for name, value in large.items()}


def _text_encoder(studio: Studio, recipe: TextRecipe, progress: Progress, folder: Path) -> Figures:
    trained = train_text_encoder(recipe, studio.conditioning, progress)
    second = recipe.projection_dim is not None
    _save(trained.encoder, folder / ("text_encoder_2" if second else "text_encoder"))
    trained.tokenizer.save_pretrained(folder / ("tokenizer_2" if second else "tokenizer"))
    tokens = tokenised(trained.tokenizer, [panel.caption for panel in studio.held_out])
    with torch.no_grad():
        written = torch.cat([trained.pair.text(part)[0] for part in tokens.split(_BATCH)])
    images = squashed([panel.image for panel in studio.held_out], TOWER_SIDE)
    return retrieval_figures(written, _embedded(images, trained.pair.tower))


def _unet(studio: Studio, recipe: UNetRecipe, progress: Progress, folder: Path) -> Figures:
    vae = load_vae(str(studio.part("vae") / "vae"))
    texts = [load_text_encoder(str(studio.part(name) / name)) for name in ("text_encoder", "text_encoder_2")]
    model = train_unet(recipe, vae, texts, studio.drawing, progress)
    _save(model, folder / "unet")
    return unet_figures(model, vae, texts, studio.held_out)


def _clip_image_encoder(studio: Studio, recipe: Any, progress: Progress, folder: Path) -> Figures:
    model = train_clip_image_encoder(recipe, crops(studio.conditioning), progress)
    _save(model, folder / "clip_image_encoder", square_processor("clip", recipe.image_size))

    def tokens(pixels: Tensor) -> Tensor:
        return model(pixel_values=pixels, output_hidden_states=True).hidden_states[-2][:, 1:].mean(dim=1)

    identity = _identity(studio, recipe.image_size, lambda pixels: model(pixel_values=pixels).image_embeds)
    return identity | _probes(studio, studio.conditioning, recipe.image_size, tokens, with_states=True)


def _magi_image_encoder(studio: Studio, recipe: Any, progress: Progress, folder: Path) -> Figures:
    model = train_magi_image_encoder(recipe, crops(studio.conditioning), progress)
    _save(model, folder / "magi_image_encoder", square_processor("vit", recipe.image_size))

    def token(pixels: Tensor) -> Tensor:
        return model(pixel_values=pixels, noise=patch_order(model, len(pixels))).last_hidden_state[:, 0]

    identity = _identity(studio, recipe.image_size, token)
    return identity | _probes(studio, studio.conditioning, recipe.image_size, token, with_states=False)


def _llm(studio: Studio, recipe: Any, progress: Progress, folder: Path) -> Figures:
    trained = train_language_model(recipe, studio.conditioning, progress)
    _save(trained.model, folder / "llm")
    trained.tokenizer.save_pretrained(folder / "llm")
    return language_figures(trained.model, trained.tokenizer, [panel.caption for panel in studio.held_out])


def _judge_clip(studio: Studio, recipe: Any, progress: Progress, folder: Path) -> Figures:
    trained = train_judge_clip(recipe, studio.judging, progress)
    model = trained.model
    _save(model, folder / "judge_clip", square_processor("clip", recipe.image_size))
    trained.tokenizer.save_pretrained(folder / "judge_clip")
    tokens = tokenised(trained.tokenizer, [panel.caption for panel in studio.held_out])
    with torch.no_grad():
        written = torch.cat([model.get_text_features(input_ids=part).pooler_output for part in tokens.split(_BATCH)])
    images = squashed([panel.image for panel in studio.held_out], recipe.image_size)
    seen = _embedded(images, lambda pixels: model.get_image_features(pixel_values=pixels).pooler_output)
    return retrieval_figures(written, seen)


def _judge_dino(studio: Studio, recipe: Any, progress: Progress, folder: Path) -> Figures:
    model = train_judge_dino(recipe, studio.judging, crops(studio.judging), progress)
    _save(model, folder / "judge_dino", square_processor("bit", recipe.image_size))

    def token(pixels: Tensor) -> Tensor:
        return model(pixel_values=pixels).last_hidden_state[:, 0]

    identity = _identity(studio, recipe.image_size, token)
    return identity | _probes(studio, studio.judging, recipe.image_size, token, with_states=True)


def _judge_detector(studio: Studio, recipe: Any, progress: Progress, folder: Path) -> Figures:
    model = train_detector(recipe, studio.judging, studio.judging_large, progress)
    _save_own(model, folder / "judge_detector")
    large = detector_figures(model, studio.held_out_large, LARGE_BUCKETS)
    return detector_figures(model, studio.held_out) | {f"large_{name}": value for name, value in large.items()}


def _judge_states(studio: Studio, recipe: Any, progress: Progress, folder: Path) -> Figures:
    model = train_state_probe(recipe, studio.judging, studio.judging_large, progress)
    model.half().float()
    figures = state_figures(model, state_crops(studio.held_out, BUCKETS))
    model.held_out_accuracy = {name: figures[f"accuracy_{name}"] for name in model.values}
    _save_own(model, folder / "judge_states")
    large = state_figures(model, state_crops(studio.held_out_large, LARGE_BUCKETS))
    return figures | {f"large_{name}": value for name, value in large.items()}


PARTS: dict[str, Callable[[Studio, Any, Progress, Path], Figures]] = {
    "vae": _vae,
    "judge_detector": _judge_detector,
    "magi_image_encoder": _magi_image_encoder,
    "clip_image_encoder": _clip_image_encoder,
    "text_encoder": _text_encoder,
    "text_encoder_2": _text_encoder,
    "unet": _unet,
    "llm": _llm,
    "judge_clip": _judge_clip,
    "judge_dino": _judge_dino,
    "judge_states": _judge_states,
}
"""How each part is trained, in the order of what others wait for."""

NEEDS: dict[str, tuple[str, ...]] = {"unet": ("vae", "text_encoder", "text_encoder_2")}
"""Parts that are trained on others."""


# ---------------------------------------------------------------- storing and measuring


def _save(model: Any, folder: Path, processor: BaseImageProcessor | None = None) -> None:
    """Store in half precision, and round the model to what was stored, so that what is measured is what is shipped."""
    model.half().save_pretrained(folder)
    model.float()
    if processor is not None:
        processor.save_pretrained(folder)


def _save_own(model: Any, folder: Path) -> None:
    """`_save` for a model of our own, which says in ``config()`` how it is built."""
    folder.mkdir()
    save_file({key: value.half() for key, value in model.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(model.config(), indent=1) + "\n")
    model.half().float()


@torch.no_grad()
def _embedded(images: np.ndarray, encode: Callable[[Tensor], Tensor]) -> Tensor:
    return torch.cat([encode(as_input(images[start : start + _BATCH])) for start in range(0, len(images), _BATCH)])


def _identity(studio: Studio, side: int, encode: Callable[[Tensor], Tensor]) -> Figures:
    held_out = crops(studio.held_out)
    features = _embedded(squashed([crop.image for crop in held_out], side), encode)
    return identity_figures(features, np.array([crop.character.identity for crop in held_out]))


def _probes(
    studio: Studio, known_panels: list[PoolPanel], side: int, encode: Callable[[Tensor], Tensor], with_states: bool
) -> Figures:
    known, unseen = crops(known_panels)[:_PROBED_CROPS], crops(studio.held_out)

    def features(found: list[Crop]) -> Tensor:
        return _embedded(squashed([crop.image for crop in found], side), encode)

    labels, unseen_labels = crop_labels(known), crop_labels(unseen)
    names = [*labels] if with_states else [*LOOKS]
    return probe_figures(
        features(known),
        {name: labels[name] for name in names},
        features(unseen),
        {name: unseen_labels[name] for name in names},
    )
