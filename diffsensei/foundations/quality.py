"""How good a foundation is on panels of a world that no training saw. Chance levels stand beside the figures."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from diffsensei.config.schema import BucketConfig
from diffsensei.foundations.detector import visible_boxes
from diffsensei.foundations.dialog_detector import DialogDetector
from diffsensei.foundations.drawn_pool import BUCKETS, PoolPanel, bucket_panels
from diffsensei.foundations.language_model import language_loss
from diffsensei.foundations.vae import to_pixels
from diffsensei.geometry import pairwise_iou

Figures = dict[str, float]
RETRIEVAL_GROUP = 64
IDENTITY_CHOICES = 8
_IOU = 0.5
_THRESHOLD = 0.3
_RIDGE = 1e-2


@torch.no_grad()
def autoencoder_figures(model: Any, panels: list[PoolPanel], config: BucketConfig = BUCKETS) -> Figures:
    """An `AutoencoderKL` from its posterior's mean: ``psnr_db`` and ``l1_grey_levels`` (0..255), mean over panels.

    ``latent_deviation`` and ``posterior_deviation`` are in units of the scaled latents.
    """
    ratios, distances, latents, deviations = [], [], [], []
    for bucket in bucket_panels(panels, config):
        for start in range(0, len(bucket.images), 32):
            images = to_pixels(bucket.images[start : start + 32])
            posterior = model.encode(images).latent_dist
            decoded = model.decode(posterior.mode()).sample.clamp(-1, 1).mean(dim=1)
            error = (decoded - images[:, 0]) * 127.5
            mean_square = error.square().flatten(1).mean(dim=1).clamp(min=1e-6)
            ratios.append(10 * torch.log10(255**2 / mean_square))
            distances.append(error.abs().flatten(1).mean(dim=1))
            latents.append(posterior.mode().flatten())
            deviations.append(posterior.std.flatten())
    scale = model.config["scaling_factor"]
    return {
        "psnr_db": _mean(ratios),
        "l1_grey_levels": _mean(distances),
        "latent_deviation": round(float(torch.cat(latents).std()) * scale, 4),
        "posterior_deviation": round(float(torch.cat(deviations).mean()) * scale, 4),
        "num_panels": len(panels),
    }


def retrieval_figures(queries: Tensor, targets: Tensor) -> Figures:
    """Rank 1 among 64: the share of rows of ``queries`` (n, d) nearest to their own row of ``targets`` (n, d)."""
    queries, targets = _unit(queries), _unit(targets)
    hits = []
    for start in range(0, len(queries) - RETRIEVAL_GROUP + 1, RETRIEVAL_GROUP):
        group = slice(start, start + RETRIEVAL_GROUP)
        nearest = (queries[group] @ targets[group].T).argmax(dim=1)
        hits.append((nearest == torch.arange(RETRIEVAL_GROUP)).float())
    return {"rank_1_of_64": _mean(hits), "chance": round(1 / RETRIEVAL_GROUP, 4)}


def identity_figures(features: Tensor, identities: NDArray[np.int64], seed: int = 0) -> Figures:
    """Nearest by cosine among 8: one other crop of the same character and 7 of others, for each crop (n, d)."""
    features = _unit(features)
    rng = np.random.default_rng(seed)
    hits = []
    for index, identity in enumerate(identities):
        same = np.flatnonzero(identities == identity)
        same = same[same != index]
        if not len(same):
            continue
        others = rng.choice(np.flatnonzero(identities != identity), IDENTITY_CHOICES - 1, replace=False)
        gallery = np.array([rng.choice(same), *others])
        hits.append(float((features[gallery] @ features[index]).argmax() == 0))
    return {"identity_1_of_8": round(float(np.mean(hits)), 4), "chance": round(1 / IDENTITY_CHOICES, 4)}


def probe_figures(
    known: Tensor,
    known_labels: dict[str, NDArray[np.int64]],
    unseen: Tensor,
    unseen_labels: dict[str, NDArray[np.int64]],
) -> Figures:
    """Accuracy on ``unseen`` features (m, d) of a linear (ridge) classifier per label, fitted to ``known`` (n, d)."""
    mean, deviation = known.mean(dim=0), known.std(dim=0) + 1e-6
    inputs, held = _with_one((known - mean) / deviation), _with_one((unseen - mean) / deviation)
    gram = inputs.T @ inputs + _RIDGE * len(inputs) * torch.eye(inputs.shape[1])
    figures = {}
    for name, values in known_labels.items():
        classes = int(max(values.max(), unseen_labels[name].max())) + 1
        truth = torch.nn.functional.one_hot(torch.from_numpy(values), classes).float()
        weights = torch.linalg.solve(gram, inputs.T @ truth)
        hit = (held @ weights).argmax(dim=1).numpy() == unseen_labels[name]
        figures[f"linear_{name}"] = round(float(hit.mean()), 4)
        most_common = np.bincount(unseen_labels[name]).max() / len(unseen_labels[name])
        figures[f"majority_{name}"] = round(float(most_common), 4)
    return figures


def detector_figures(detector: DialogDetector, panels: list[PoolPanel], config: BucketConfig = BUCKETS) -> Figures:
    """Precision, recall and F1 of boxes matched one to one at IoU 0.5, and the mean IoU of the matches."""
    matched, found, wanted = 0, 0, 0
    overlaps: list[float] = []
    for bucket in bucket_panels(panels, config):
        height, width = bucket.images.shape[1:]
        detections = detector.detect(list(bucket.images), _THRESHOLD)
        for boxes, detected in zip(bucket.dialogs, detections, strict=True):
            truth = visible_boxes(boxes, height, width)
            pairs = _matches(truth, detected.boxes_xyxy)
            matched, found, wanted = matched + len(pairs), found + len(detected.scores), wanted + len(truth)
            overlaps += pairs
    precision, recall = matched / max(found, 1), matched / max(wanted, 1)
    return {
        "precision": round(precision, 4),
        "recall": round(recall, 4),
        "f1": round(2 * precision * recall / max(precision + recall, 1e-9), 4),
        "mean_iou": round(float(np.mean(overlaps)) if overlaps else 0.0, 4),
        "num_dialogs": wanted,
    }


@torch.no_grad()
def language_figures(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, captions: Sequence[str]) -> Figures:
    """``perplexity`` per token of held-out captions; that of a uniform guess is the vocabulary's size."""
    rows = [tokenizer(caption).input_ids for caption in captions]
    total, count = 0.0, 0
    for start in range(0, len(rows), 64):
        batch = rows[start : start + 64]
        predicted = sum(len(row) for row in batch)
        total += float(language_loss(model, batch, tokenizer.eos_token_id)) * predicted
        count += predicted
    return {"perplexity": round(float(np.exp(total / count)), 3), "chance": float(len(tokenizer))}


def _matches(truth: NDArray[np.float64], found: NDArray[np.float32]) -> list[float]:
    """IoUs of the pairs, best first, each box used once."""
    ious = pairwise_iou(truth, found)
    pairs = []
    while ious.size and ious.max() >= _IOU:
        row, column = np.unravel_index(int(ious.argmax()), ious.shape)
        pairs.append(float(ious[row, column]))
        ious = np.delete(np.delete(ious, row, axis=0), column, axis=1)
    return pairs


def _with_one(features: Tensor) -> Tensor:
    return torch.cat([features, torch.ones(len(features), 1)], dim=1)


def _unit(features: Tensor) -> Tensor:
    return torch.nn.functional.normalize(features.float(), dim=-1)


def _mean(parts: list[Tensor]) -> float:
    return round(float(torch.cat(parts).mean()), 4)
