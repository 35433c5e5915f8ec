"""Losses that pull together what belongs together: image and caption, crops of one character, views of one panel."""

import torch
from torch import Tensor
from torch.nn import functional


def paired_contrast(first: Tensor, second: Tensor, log_scale: Tensor) -> Tensor:
    """CLIP's symmetric loss: row i of ``first`` (n, d) belongs to row i of ``second`` (n, d)."""
    first, second = functional.normalize(first, dim=-1), functional.normalize(second, dim=-1)
    logits = log_scale.exp().clamp(max=100.0) * first @ second.T
    target = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


def supervised_contrast(features: Tensor, labels: Tensor, temperature: float = 0.1) -> Tensor:
    """Khosla et al. 2020: each row's log-likelihood of the other rows (n, d) with its label (n,), averaged."""
    features = functional.normalize(features, dim=-1)
    itself = torch.eye(len(features), dtype=torch.bool, device=features.device)
    logits = (features @ features.T / temperature).masked_fill(itself, float("-inf"))
    positive = (labels[:, None] == labels[None]) & ~itself
    log_likelihood = logits.log_softmax(dim=1).masked_fill(~positive, 0.0)
    counts = positive.sum(dim=1)
    return -(log_likelihood.sum(dim=1)[counts > 0] / counts[counts > 0]).mean()
