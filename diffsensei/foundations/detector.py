"""Trains the dialog detector (`dialog_detector`) on drawn panels whose bubbles are known exactly."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from diffsensei.foundations.dialog_detector import STRIDE, HeatmapDetector, cell_centres
from diffsensei.foundations.drawn_pool import LARGE_BUCKETS, BucketPanels, Grey, PoolPanel, bucket_panels
from diffsensei.foundations.optimisation import build, fit
from diffsensei.foundations.recipes import DetectorRecipe
from diffsensei.geometry import area
from diffsensei.progress import Progress
from diffsensei.seeding import numpy_stream

MIN_VISIBLE_SHARE = 0.4
"""A bubble with less of its area inside the panel is not asked for."""
_EDGE = 16
_CORE = 0.35
"""Cells within this share of a bubble's half extent around its centre are positive."""
_PAPER = 255


def train_detector(
    recipe: DetectorRecipe, panels: list[PoolPanel], large_panels: list[PoolPanel], progress: Progress
) -> HeatmapDetector:
    """A detector for panels of the tiny tier and, from ``large_panels``, of twice that size."""
    buckets, large = bucket_panels(panels), bucket_panels(large_panels, LARGE_BUCKETS)
    model = build(recipe.fit, lambda: HeatmapDetector(list(recipe.widths)))
    rng = numpy_stream(recipe.fit.seed, "batches")

    def loss_of_step(step: int) -> Tensor:
        is_large = rng.random() < recipe.large_rate
        source = large if is_large else buckets
        images, boxes = _draw_batch(source, recipe.fit.batch // (4 if is_large else 1), rng)
        logits, predicted = model(images)
        heat, target, inside = _targets(boxes, *logits.shape[1:])
        loss = _focal(logits, heat)
        return loss + recipe.box_weight * _box_loss(predicted, target, inside)

    fit(recipe.fit, [model], loss_of_step, progress)
    return model


def visible_boxes(boxes: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """``boxes`` (n, 4) clipped to a panel of ``height`` x ``width``, without those that are mostly outside."""
    clipped = np.clip(boxes, 0, np.array([width, height] * 2, dtype=np.float64))
    return clipped[area(clipped) >= MIN_VISIBLE_SHARE * np.maximum(area(boxes), 1e-6)]


def _draw_batch(
    buckets: list[BucketPanels], batch: int, rng: np.random.Generator
) -> tuple[Tensor, list[NDArray[np.float64]]]:
    """Pixels (n, 1, h, w) in [0, 1], padded as the detector pads, and the boxes of each."""
    counts = np.array([len(bucket.images) for bucket in buckets])
    bucket = buckets[rng.choice(len(buckets), p=counts / counts.sum())]
    chosen = rng.integers(len(bucket.images), size=batch)
    images, height, width = bucket.images[chosen], *bucket.images.shape[1:]
    boxes = [visible_boxes(bucket.dialogs[index], height, width) for index in chosen]
    if rng.random() < 0.5:
        images = images[:, :, ::-1]
        boxes = [np.stack([width - b[:, 2], b[:, 1], width - b[:, 0], b[:, 3]], axis=1) for b in boxes]
    return _degraded(images, rng), boxes


def _degraded(images: Grey, rng: np.random.Generator) -> Tensor:
    """Blur, contrast and noise, each picture its own: what is judged is generated, not drawn."""
    count, height, width = images.shape
    pixels = torch.from_numpy(np.ascontiguousarray(images)).float()[:, None] / 255
    padding = (0, -width % _EDGE, 0, -height % _EDGE)
    soft = functional.avg_pool2d(pixels, 3, stride=1, padding=1, count_include_pad=False)
    share = torch.from_numpy(rng.uniform(0, 1, (count, 1, 1, 1)) ** 2).float()
    pixels = pixels + share * (soft - pixels)
    contrast = torch.from_numpy(rng.uniform(0.75, 1.05, (count, 1, 1, 1))).float()
    noise = torch.from_numpy(rng.normal(size=pixels.shape) * rng.uniform(0, 0.08, (count, 1, 1, 1))).float()
    pixels = (0.5 + (pixels - 0.5) * contrast + noise).clamp(0, 1)
    return functional.pad(pixels, padding, value=_PAPER / 255)


def _targets(boxes: list[NDArray[np.float64]], rows: int, columns: int) -> tuple[Tensor, Tensor, Tensor]:
    """Heat (n, rows, columns) in [0, 1], boxes (n, 4, rows, columns), and a mask of the cells that learn boxes.

    Heat falls off as a Gaussian of a quarter of the bubble's size and is exactly 1 at the cell nearest its centre.
    """
    heat = torch.zeros(len(boxes), rows, columns)
    target = torch.zeros(len(boxes), 4, rows, columns)
    inside = torch.zeros(len(boxes), rows, columns, dtype=torch.bool)
    x, y = cell_centres(rows, columns, heat.device)
    for index, panel_boxes in enumerate(boxes):
        for x1, y1, x2, y2 in panel_boxes.tolist():
            off_x = (x - (x1 + x2) / 2) / max((x2 - x1) / 2, STRIDE / 2)
            off_y = (y - (y1 + y2) / 2) / max((y2 - y1) / 2, STRIDE / 2)
            bump = torch.exp(-(off_x.square() + off_y.square()) * 4)
            bump = bump / bump.max()
            nearest = bump == 1
            core = ((off_x.abs() < _CORE) & (off_y.abs() < _CORE)) | nearest
            mine = core & (bump >= heat[index])
            heat[index] = torch.maximum(heat[index], bump)
            target[index][:, mine] = torch.tensor([x1, y1, x2, y2])[:, None]
            inside[index] |= mine
    return heat, target, inside


def _focal(logits: Tensor, heat: Tensor) -> Tensor:
    """CenterNet's focal loss: cells of heat 1 are bubbles, others count less the nearer they are to one."""
    positive = heat == 1
    log_yes, log_no = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    scores = logits.sigmoid()
    found = -(log_yes * (1 - scores).square())[positive].sum()
    other = -(log_no * scores.square() * (1 - heat).pow(4))[~positive].sum()
    return (found + other) / positive.sum().clamp(min=1)


def _box_loss(predicted: Tensor, target: Tensor, inside: Tensor) -> Tensor:
    """Generalised IoU plus a share of the L1 distance in cells, over the cells at the bubbles' cores."""
    if not inside.any():
        return predicted.sum() * 0
    mine, true = predicted.permute(0, 2, 3, 1)[inside], target.permute(0, 2, 3, 1)[inside]
    low, high = torch.maximum(mine[:, :2], true[:, :2]), torch.minimum(mine[:, 2:], true[:, 2:])
    common = (high - low).clamp(min=0).prod(dim=1)
    union = (mine[:, 2:] - mine[:, :2]).prod(dim=1) + (true[:, 2:] - true[:, :2]).prod(dim=1) - common
    hull = (torch.maximum(mine[:, 2:], true[:, 2:]) - torch.minimum(mine[:, :2], true[:, :2])).prod(dim=1)
    generalised = common / union - (hull - union) / hull
    return (1 - generalised).mean() + 0.1 * (mine - true).abs().mean() / STRIDE
