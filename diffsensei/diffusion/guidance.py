"""Classifier-free guidance (Ho & Salimans 2022): one weighted sum of two noise estimates."""

from collections.abc import Callable

import torch
from torch import Tensor

Predict = Callable[[Tensor, Tensor], Tensor]
"""(latents (B, 4, h, w), timesteps (B,)) -> predicted noise (B, 4, h, w)."""


def guided(predict_both: Predict, guidance_scale: float) -> Predict:
    """eps = eps_neg + s * (eps_pos - eps_neg), from one forward over both branches.

    ``predict_both`` answers 2B latents: B under the negative conditions, then the same B under the positive ones.
    """

    def predict(latents: Tensor, timesteps: Tensor) -> Tensor:
        both = predict_both(torch.cat([latents, latents]), torch.cat([timesteps, timesteps]))
        negative, positive = both.chunk(2)
        return negative + guidance_scale * (positive - negative)

    return predict
