"""The UNet that pre-training starts from: what it is shown, that it learns, and how it is measured."""

from typing import Any

import pytest
import torch

from diffsensei.config.presets import tiny
from diffsensei.foundations.drawn_pool import PoolPanel, bucket_panels
from diffsensei.foundations.loading import load_text_encoder, load_vae
from diffsensei.foundations.recipes import UNetRecipe
from diffsensei.foundations.unet import encoded_panels, train_unet, unet_figures
from diffsensei.foundations.vae import to_pixels
from diffsensei.models.text import encode_text


class Losses:
    """Keeps what `fit` reports."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def advance(self, amount: int = 1, **figures: float) -> None:
        self.losses.append(figures["loss"])


@pytest.fixture(scope="module")
def vae() -> Any:
    return load_vae("embedded:vae")


@pytest.fixture(scope="module")
def text_encoders() -> list[Any]:
    return [load_text_encoder(f"embedded:{name}") for name in ("text_encoder", "text_encoder_2")]


def test_the_architecture_is_the_tiny_presets() -> None:
    assert UNetRecipe().architecture == tiny().model.unet


def test_panels_are_encoded_with_their_words_and_sizes(
    vae: Any, text_encoders: list[Any], panels: list[PoolPanel]
) -> None:
    few = panels[:24]
    found, drawn = encoded_panels(vae, text_encoders, few), bucket_panels(few)
    assert sum(len(bucket.moments) for bucket in found) == len(few)
    for bucket, images in zip(found, drawn, strict=True):
        with torch.no_grad():
            moments = vae.encode(to_pixels(images.images[:1])).latent_dist.parameters
        tokens, pooled = encode_text(text_encoders, images.captions[:1])
        close = {"atol": 5e-3, "rtol": 5e-3}
        torch.testing.assert_close(bucket.moments[:1].float(), moments, **close)
        torch.testing.assert_close(bucket.text_tokens[:1].float(), tokens, **close)
        torch.testing.assert_close(bucket.pooled_text[:1].float(), pooled, **close)
        height, width = images.shapes[0]
        assert bucket.time_ids[0, [0, 1, 4, 5]].tolist() == [height, width, *images.images.shape[1:]]


def test_it_learns_and_repeats_to_the_bit(vae: Any, text_encoders: list[Any], panels: list[PoolPanel]) -> None:
    recipe = UNetRecipe()
    small = recipe.architecture.replaced(block_out_channels=(32, 64), addition_time_embed_dim=8)
    fit = recipe.fit.replaced(steps=24, batch=4, warmup_steps=2, learning_rate=2e-3)
    recipe = recipe.replaced(fit=fit.model_dump(), architecture=small.model_dump())
    runs = []
    for _ in range(2):
        losses = Losses()
        runs.append((train_unet(recipe, vae, text_encoders, panels[:12], losses), losses.losses))
    (first, losses), (second, _) = runs
    assert sum(losses[-6:]) < 0.8 * sum(losses[:6])
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))


def test_a_network_that_predicts_nothing_measures_one(
    vae: Any, text_encoders: list[Any], panels: list[PoolPanel]
) -> None:
    class Nothing(torch.nn.Module):
        def forward(self, latents: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor]:
            return (torch.zeros_like(latents),)

    figures = unet_figures(Nothing(), vae, text_encoders, panels[:40])
    assert figures.pop("num_panels") == 40
    assert figures == pytest.approx(dict.fromkeys(figures, 1.0), abs=0.03)
    assert len(set(figures.values())) == 1
