"""Trains the encoders that score panels (paper sec. 5.1: CLIP, DINOv2), apart from those that condition the model."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPVisionConfig,
    Dinov2Config,
    Dinov2Model,
    PreTrainedTokenizerBase,
)

from diffsensei.foundations.contrast import paired_contrast, supervised_contrast
from diffsensei.foundations.drawn_pool import Crop, PoolPanel
from diffsensei.foundations.image_encoders import CropBatches, num_token_features
from diffsensei.foundations.labels import LOOKS, STATES, LabelHeads, panel_facts
from diffsensei.foundations.optimisation import build, fit
from diffsensei.foundations.recipes import ImageEncoderRecipe, JudgeClipRecipe
from diffsensei.foundations.text import tokenised, trimmed
from diffsensei.foundations.views import random_views, squashed
from diffsensei.foundations.vocabulary import clip_tokenizer
from diffsensei.progress import Progress
from diffsensei.seeding import numpy_stream, stream_seed

_START_SCALE = float(np.log(1 / 0.07))
_FACTS_WEIGHT = 10.0
"""The loss is a mean over some sixty facts: this brings it to the size of the contrasts."""


@dataclass(frozen=True)
class TrainedClip:
    model: CLIPModel
    tokenizer: PreTrainedTokenizerBase


def train_judge_clip(recipe: JudgeClipRecipe, panels: list[PoolPanel], progress: Progress) -> TrainedClip:
    """CLIP whose embeddings of a panel and of its caption meet."""
    tokenizer = clip_tokenizer()
    tokens = tokenised(tokenizer, [panel.caption for panel in panels])
    images = squashed([panel.image for panel in panels], recipe.image_size)
    facts = torch.from_numpy(panel_facts(panels))
    model = build(recipe.fit, lambda: CLIPModel(_clip_config(recipe, tokenizer)))
    of_texts, of_panels, of_places = build(
        recipe.fit,
        lambda: [
            nn.Linear(size, facts.shape[1])
            for size in (recipe.projection_dim, recipe.projection_dim, num_token_features(recipe))
        ],
    )
    rng = numpy_stream(recipe.fit.seed, "batches")
    generator = torch.Generator().manual_seed(stream_seed(recipe.fit.seed, "views"))

    def loss_of_step(step: int) -> Tensor:
        chosen = rng.choice(len(images), recipe.fit.batch, replace=False)
        written = model.get_text_features(input_ids=trimmed(tokens[chosen], tokenizer.eos_token_id)).pooler_output
        states = model.vision_model(pixel_values=random_views(images[chosen], generator))
        seen = model.visual_projection(states.pooler_output)
        truth = facts[chosen]
        loss = paired_contrast(written, seen, model.logit_scale)
        loss = loss + _facts_loss(of_texts(written), truth) + _facts_loss(of_panels(seen), truth)
        return loss + _facts_loss(of_places(states.last_hidden_state[:, 1:].flatten(1)), truth)

    fit(recipe.fit, [model, of_texts, of_panels, of_places], loss_of_step, progress)
    return TrainedClip(model, tokenizer)


def train_judge_dino(
    recipe: ImageEncoderRecipe, panels: list[PoolPanel], crops: list[Crop], progress: Progress
) -> Dinov2Model:
    """A DINOv2 whose class token is close for crops of one character and for views of one panel, far otherwise."""
    config = Dinov2Config(
        hidden_size=recipe.hidden_size,
        mlp_ratio=3,
        num_hidden_layers=recipe.num_layers,
        num_attention_heads=recipe.num_heads,
        image_size=recipe.image_size,
        patch_size=recipe.patch_size,
        initializer_range=recipe.initializer_range,
    )
    images = squashed([panel.image for panel in panels], recipe.image_size)
    facts = torch.from_numpy(panel_facts(panels))
    model = build(recipe.fit, lambda: Dinov2Model(config))
    names, num_features = [*LOOKS, *STATES], num_token_features(recipe)
    of_crops, of_places = build(
        recipe.fit, lambda: (LabelHeads(recipe.hidden_size, names), LabelHeads(num_features, names))
    )
    of_panels, of_panel_places = build(
        recipe.fit,
        lambda: (nn.Linear(recipe.hidden_size, facts.shape[1]), nn.Linear(num_features, facts.shape[1])),
    )
    batches = CropBatches(crops, recipe.image_size, recipe.fit.seed, recipe.fit.batch)
    rng = numpy_stream(recipe.fit.seed, "panel batches")
    generator = torch.Generator().manual_seed(stream_seed(recipe.fit.seed, "panel views"))

    def loss_of_step(step: int) -> Tensor:
        pixels, labels, identities = batches.draw()
        chosen = rng.choice(len(images), recipe.fit.batch // 2, replace=False)
        views = [random_views(images[chosen], generator) for _ in range(2)]
        tokens = model(pixel_values=torch.cat([pixels, *views])).last_hidden_state
        crop_tokens, panel_tokens = tokens[: len(pixels)], tokens[len(pixels) :]
        same_panel = torch.arange(len(chosen)).repeat(2)
        loss = supervised_contrast(crop_tokens[:, 0], identities) + supervised_contrast(panel_tokens[:, 0], same_panel)
        loss = loss + of_crops.loss(crop_tokens[:, 0], labels) + of_places.loss(crop_tokens[:, 1:].flatten(1), labels)
        truth = facts[chosen].repeat(2, 1)
        loss = loss + _facts_loss(of_panels(panel_tokens[:, 0]), truth)
        return loss + _facts_loss(of_panel_places(panel_tokens[:, 1:].flatten(1)), truth)

    fit(recipe.fit, [model, of_crops, of_places, of_panels, of_panel_places], loss_of_step, progress)
    return model


def _facts_loss(logits: Tensor, truth: Tensor) -> Tensor:
    return _FACTS_WEIGHT * functional.binary_cross_entropy_with_logits(logits, truth)


def _clip_config(recipe: JudgeClipRecipe, tokenizer: PreTrainedTokenizerBase) -> CLIPConfig:
    sizes: dict[str, Any] = {
        "hidden_size": recipe.hidden_size,
        "intermediate_size": 3 * recipe.hidden_size,
        "num_attention_heads": recipe.num_heads,
        "projection_dim": recipe.projection_dim,
    }
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=tokenizer.model_max_length,
        num_hidden_layers=recipe.num_text_layers,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **sizes,
    )
    vision = CLIPVisionConfig(
        num_hidden_layers=recipe.num_vision_layers,
        image_size=recipe.image_size,
        patch_size=recipe.patch_size,
        initializer_range=recipe.initializer_range,
        **sizes,
    )
    return CLIPConfig(
        text_config=text.to_dict(),
        vision_config=vision.to_dict(),
        projection_dim=recipe.projection_dim,
        logit_scale_init_value=_START_SCALE,
    )
