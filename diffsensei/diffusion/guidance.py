"""Classifier-free guidance (Ho & Salimans 2022) over any number of ever more conditioned noise estimates."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Predict = Callable[[Tensor, Tensor], Tensor]
"""(latents (B, 4, h, w), timesteps (B,)) -> predicted noise (B, 4, h, w)."""


def guided(predict_all: Predict, scales: Sequence[float]) -> Predict:
    """eps = eps_0 + s_1 (eps_1 - eps_0) + s_2 (eps_2 - eps_1) + ..., from one forward over all branches.

    ``predict_all`` answers (1 + k) B latents for k ``scales``: B under the least conditions, then the same B under each
    further branch. One scale is the usual guidance; none leaves ``predict_all`` as it is.
    """
    count = 1 + len(scales)
    if count == 1:
        return predict_all

    def predict(latents: Tensor, timesteps: Tensor) -> Tensor:
        estimates = predict_all(torch.cat([latents] * count), torch.cat([timesteps] * count)).float().chunk(count)
        noise_pred = estimates[0]
        for scale, less, more in zip(scales, estimates, estimates[1:], strict=False):
            noise_pred = noise_pred + scale * (more - less)
        return noise_pred

    return predict
