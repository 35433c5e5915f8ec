"""A denoising loop: masks, keys and values of the conditions kept over its steps, against computed at every step."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from diffsensei.config.presets import tiny
from diffsensei.models.conditions import Conditions, Layout
from diffsensei.models.unet import add_manga_conditions, build_unet, noise_predictor, predict_noise
from tests.benchmarks.interleaved import Case

NUM_QUERIES, SLOTS, STEPS, WIDTH = 16, 4, 8, 256


def cases() -> Iterator[Case]:
    torch.manual_seed(0)
    unet = build_unet(tiny().model.unet, in_channels=4, cross_attention_dim=WIDTH, pooled_dim=64)
    add_manga_conditions(unet, NUM_QUERIES)
    unet.eval()
    layout = Layout(
        torch.tensor([[[0.0, 0.1, 0.5, 1.0], [0.5, 0.0, 1.0, 0.8], *[[0.0] * 4] * 2]] * 2),
        torch.tensor([[True, True, False, False]] * 2),
        torch.tensor([[[0.0, 0.0, 0.4, 0.3]]] * 2),
        torch.tensor([[True]] * 2),
    )
    conditions = Conditions(
        torch.randn(2, 77, WIDTH),
        torch.randn(2, 64),
        torch.full((2, 6), 64.0),
        torch.randn(2, (1 + SLOTS) * NUM_QUERIES, WIDTH),
        layout,
    )
    latents = torch.randn(2, 4, 8, 8)
    yield Case(
        name=f"{STEPS} denoising steps of the tiny UNet, guided",
        check=partial(_check, unet, conditions, latents),
        plain=partial(_afresh, unet, conditions, latents),
        ours=partial(_kept, unet, conditions, latents),
        goal=0.0,
    )


@torch.no_grad()
def _afresh(unet: nn.Module, conditions: Conditions, latents: Tensor) -> list[Tensor]:
    return [predict_noise(unet, latents, torch.full((2,), 100 * step), conditions) for step in range(STEPS)]


def _kept(unet: nn.Module, conditions: Conditions, latents: Tensor) -> list[Tensor]:
    predict = noise_predictor(unet, conditions)
    return [predict(latents, torch.full((2,), 100 * step)) for step in range(STEPS)]


def _check(unet: nn.Module, conditions: Conditions, latents: Tensor) -> None:
    for plain, ours in zip(_afresh(unet, conditions, latents), _kept(unet, conditions, latents), strict=True):
        assert torch.equal(plain, ours)
