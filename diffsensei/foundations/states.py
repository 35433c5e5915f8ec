"""Trains the probe of states (`state_probe`) on crops of drawn characters whose states are known exactly."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from diffsensei.config.schema import BucketConfig
from diffsensei.data.panels.buckets import assign_buckets, build_buckets, fit_panel
from diffsensei.data.synthetic.cast import FACINGS
from diffsensei.foundations.drawn_pool import BUCKETS, LARGE_BUCKETS, Grey, PoolPanel
from diffsensei.foundations.labels import READ_STATES, mirrored_labels
from diffsensei.foundations.optimisation import build, fit
from diffsensei.foundations.recipes import StateProbeRecipe
from diffsensei.foundations.state_probe import StateProbe
from diffsensei.foundations.views import random_views, squashed
from diffsensei.geometry import cover_crop, pixel_box
from diffsensei.progress import Progress
from diffsensei.seeding import numpy_stream, stream_seed

NOT_SHOWN = -1
"""Instead of the number of an expression: the character is seen from behind."""
_MIN_SIDE = 8


@dataclass(frozen=True, eq=False)
class StateCrops:
    """``images`` grey (H, W) of any size; ``labels`` (n,) by attribute, `NOT_SHOWN` where nothing is to be seen."""

    images: list[Grey]
    labels: dict[str, NDArray[np.int64]]

    def __add__(self, other: "StateCrops") -> "StateCrops":
        labels = {name: np.concatenate([values, other.labels[name]]) for name, values in self.labels.items()}
        return StateCrops(self.images + other.images, labels)


def state_crops(panels: Sequence[PoolPanel], config: BucketConfig | None) -> StateCrops:
    """Every character of ``panels`` at least 8 pixels high and wide, cut along its box as scoring cuts it.

    ``config``: from the panel at its training size; None: from the panel as it stood on its page.
    """
    sizes = None
    if config is not None:
        buckets = build_buckets(config)
        heights, widths = np.array([panel.image.shape for panel in panels]).T
        sizes = [buckets[index] for index in assign_buckets(heights, widths, buckets, config)]
    images: list[Grey] = []
    rows: list[dict[str, int]] = []
    for index, panel in enumerate(panels):
        height, width = panel.image.shape
        boxes = np.array([c.box for c in panel.characters]).reshape(-1, 4) / np.array([width, height] * 2)
        image = panel.image
        if sizes is not None:
            image = fit_panel(panel.image, sizes[index])
            boxes = np.clip(cover_crop(boxes, height, width, *image.shape), 0.0, 1.0)
        for character, box in zip(panel.characters, boxes, strict=True):
            left, top, right, bottom = pixel_box(box, *image.shape)
            if min(right - left, bottom - top) >= _MIN_SIDE:
                images.append(image[top:bottom, left:right])
                rows.append(_numbers(character.labels | {"distance": panel.distance}))
    return StateCrops(images, {name: np.array([row[name] for row in rows], dtype=np.int64) for name in READ_STATES})


def train_state_probe(
    recipe: StateProbeRecipe, panels: list[PoolPanel], large_panels: list[PoolPanel], progress: Progress
) -> StateProbe:
    """A probe for panels of the tiny tier, for those of twice that size, and for what lies between."""
    known = state_crops(panels, BUCKETS) + state_crops(panels, None) + state_crops(large_panels, LARGE_BUCKETS)
    images, mirrored = squashed(known.images, recipe.side), mirrored_labels(known.labels)
    model = build(recipe.fit, lambda: StateProbe(recipe.widths, recipe.side, READ_STATES))
    rng = numpy_stream(recipe.fit.seed, "batches")
    generator = torch.Generator().manual_seed(stream_seed(recipe.fit.seed, "views"))

    def loss_of_step(step: int) -> Tensor:
        chosen = rng.choice(len(images), recipe.fit.batch, replace=False)
        flip = rng.random(len(chosen)) < 0.5
        batch = np.where(flip[:, None, None], images[chosen, :, ::-1], images[chosen])
        truth = {name: np.where(flip, mirrored[name][chosen], known.labels[name][chosen]) for name in READ_STATES}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream_seed(recipe.fit.seed, "dropout", step) % 2**63)
            logits = model(random_views(batch, generator)[:, :1])
        return torch.stack([_loss(logits[name], truth[name]) for name in READ_STATES]).sum()

    fit(recipe.fit, [model], loss_of_step, progress)
    return model


def state_figures(probe: StateProbe, crops: StateCrops) -> dict[str, float]:
    """Per attribute ``accuracy_`` on ``crops`` and ``majority_``: what always naming the commonest value would get."""
    logits = probe.logits(crops.images)
    answers = [probe.answers(row) for row in logits]
    figures: dict[str, float] = {}
    for name, options in READ_STATES.items():
        truth = crops.labels[name]
        shown = truth != NOT_SHOWN
        said = np.array([options.index(answer[name]) for answer in answers])
        figures[f"accuracy_{name}"] = round(float((said == truth)[shown].mean()), 4)
        figures[f"majority_{name}"] = round(float(np.bincount(truth[shown]).max() / shown.sum()), 4)
    return figures | {"num_crops": len(crops.images)}


def _numbers(labels: dict[str, str]) -> dict[str, int]:
    numbers = {name: options.index(labels[name]) for name, options in READ_STATES.items()}
    if labels["facing"] == FACINGS[-1]:
        numbers["expression"] = NOT_SHOWN
    return numbers


def _loss(logits: Tensor, truth: NDArray[np.int64]) -> Tensor:
    return functional.cross_entropy(logits, torch.from_numpy(truth), ignore_index=NOT_SHOWN, label_smoothing=0.05)
