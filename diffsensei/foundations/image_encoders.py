"""Trains the encoders that describe a character (paper sec. 4.1): CLIP's vision tower and a Magi-like ViT-MAE."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, ViTMAEConfig, ViTMAEModel

from diffsensei.foundations.contrast import paired_contrast, supervised_contrast
from diffsensei.foundations.drawn_pool import Crop, Grey
from diffsensei.foundations.labels import LOOKS, STATES, LabelHeads, crop_labels, mirrored_labels
from diffsensei.foundations.optimisation import build, fit
from diffsensei.foundations.recipes import ImageEncoderRecipe, JudgeClipRecipe
from diffsensei.foundations.views import random_views, squashed
from diffsensei.progress import Progress
from diffsensei.seeding import numpy_stream, stream_seed

_START_SCALE = float(np.log(1 / 0.07))
_IDENTITY_WEIGHT = 0.5
CROPS_PER_IDENTITY = 2


class CropBatches:
    """Batches of crops: half as many characters, each in two states, mirrored half of the time."""

    def __init__(self, crops: list[Crop], side: int, seed: int, batch: int) -> None:
        """``side`` in pixels; ``batch`` crops a batch. Characters seen only once are left out."""
        self._images = squashed([crop.image for crop in crops], side)
        self._labels = crop_labels(crops)
        self._mirrored = mirrored_labels(self._labels)
        identities = np.array([crop.character.identity for crop in crops])
        order = np.argsort(identities, kind="stable")
        starts = np.flatnonzero(np.diff(identities[order])) + 1
        self._groups = [group for group in np.split(order, starts) if len(group) >= CROPS_PER_IDENTITY]
        self._num_identities = min(batch // CROPS_PER_IDENTITY, len(self._groups))
        self._rng = numpy_stream(seed, "crop batches")
        self._generator = torch.Generator().manual_seed(stream_seed(seed, "crop views"))

    def draw(self) -> tuple[Tensor, dict[str, NDArray[np.int64]], Tensor]:
        """Pixels (n, 3, side, side), labels (n,) by name, and the number of each crop's identity (n,)."""
        groups = self._rng.choice(len(self._groups), self._num_identities, replace=False)
        chosen = np.concatenate(
            [self._rng.choice(self._groups[group], CROPS_PER_IDENTITY, replace=False) for group in groups]
        )
        flip = self._rng.random(len(chosen)) < 0.5
        images: Grey = np.where(flip[:, None, None], self._images[chosen, :, ::-1], self._images[chosen])
        labels = {
            name: np.where(flip, self._mirrored[name][chosen], values[chosen]) for name, values in self._labels.items()
        }
        identities = torch.from_numpy(np.repeat(groups, CROPS_PER_IDENTITY))
        return random_views(images, self._generator), labels, identities


class DescriptionTower(nn.Module):
    """Stands in for a text tower while CLIP's image side is trained: embeds a crop's named looks and state."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        tables = LOOKS | STATES
        self.words = nn.ModuleDict({name: nn.Embedding(len(table), dim) for name, table in tables.items()})
        self.mix = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        self.log_scale = nn.Parameter(torch.tensor(_START_SCALE))

    def forward(self, labels: dict[str, NDArray[np.int64]]) -> Tensor:
        words = [table(torch.from_numpy(labels[name])) for name, table in self.words.items()]
        return self.mix(torch.stack(words).sum(dim=0))


def train_clip_image_encoder(
    recipe: ImageEncoderRecipe, crops: list[Crop], progress: Progress
) -> CLIPVisionModelWithProjection:
    """A CLIP vision tower whose embedding names looks, state and identity, and whose penultimate tokens do too."""
    config = CLIPVisionConfig(
        hidden_size=recipe.hidden_size,
        intermediate_size=3 * recipe.hidden_size,
        projection_dim=recipe.hidden_size,
        num_hidden_layers=recipe.num_layers,
        num_attention_heads=recipe.num_heads,
        image_size=recipe.image_size,
        patch_size=recipe.patch_size,
        initializer_range=recipe.initializer_range,
    )
    names = [*LOOKS, *STATES]
    model = build(recipe.fit, lambda: CLIPVisionModelWithProjection(config))
    descriptions = build(recipe.fit, lambda: DescriptionTower(recipe.hidden_size))
    of_class = build(recipe.fit, lambda: LabelHeads(recipe.hidden_size, names))
    of_places = build(recipe.fit, lambda: LabelHeads(num_token_features(recipe), names))
    batches = CropBatches(crops, recipe.image_size, recipe.fit.seed, recipe.fit.batch)

    def loss_of_step(step: int) -> Tensor:
        pixels, labels, identities = batches.draw()
        out = model(pixel_values=pixels, output_hidden_states=True)
        loss = paired_contrast(out.image_embeds, descriptions(labels), descriptions.log_scale)
        loss = loss + of_class.loss(out.image_embeds, labels)
        loss = loss + of_places.loss(out.hidden_states[-2][:, 1:].flatten(1), labels)
        return loss + _IDENTITY_WEIGHT * supervised_contrast(out.image_embeds, identities)

    fit(recipe.fit, [model, descriptions, of_class, of_places], loss_of_step, progress)
    return model


def train_magi_image_encoder(recipe: ImageEncoderRecipe, crops: list[Crop], progress: Progress) -> ViTMAEModel:
    """A ViT-MAE whose class token is the same for a character in every state and tells its looks."""
    config = ViTMAEConfig(
        hidden_size=recipe.hidden_size,
        intermediate_size=3 * recipe.hidden_size,
        num_hidden_layers=recipe.num_layers,
        num_attention_heads=recipe.num_heads,
        image_size=recipe.image_size,
        patch_size=recipe.patch_size,
        initializer_range=recipe.initializer_range,
        mask_ratio=0.0,
    )
    model = build(recipe.fit, lambda: ViTMAEModel(config))
    of_class = build(recipe.fit, lambda: LabelHeads(recipe.hidden_size, [*LOOKS]))
    of_places = build(recipe.fit, lambda: LabelHeads(num_token_features(recipe), [*LOOKS]))
    batches = CropBatches(crops, recipe.image_size, recipe.fit.seed, recipe.fit.batch)

    def loss_of_step(step: int) -> Tensor:
        pixels, labels, identities = batches.draw()
        tokens = model(pixel_values=pixels, noise=patch_order(model, len(pixels))).last_hidden_state
        loss = supervised_contrast(tokens[:, 0], identities) + of_class.loss(tokens[:, 0], labels)
        return loss + of_places.loss(tokens[:, 1:].flatten(1), labels)

    fit(recipe.fit, [model, of_class, of_places], loss_of_step, progress)
    return model


def num_token_features(recipe: ImageEncoderRecipe | JudgeClipRecipe) -> int:
    """Numbers in all patch tokens of an image.

    A linear head on all of them learns at once what stands where, long before a class token knows where to look:
    it takes a small transformer past the plateau at the start of its training.
    """
    return (recipe.image_size // recipe.patch_size) ** 2 * recipe.hidden_size


def patch_order(model: ViTMAEModel, count: int) -> Tensor:
    """The ``noise`` (count, patches) that leaves a ViT-MAE's patches in order instead of shuffling them at random."""
    num_patches = model.embeddings.position_embeddings.shape[1] - 1
    return torch.arange(num_patches).float().expand(count, -1)
