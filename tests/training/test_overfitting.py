"""Each stage can learn one fixed batch with fixed noise by heart: what it trains suffices, and the loss reaches it."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from diffsensei.config.presets import tiny
from diffsensei.foundations.loading import load_llm
from diffsensei.models.identity_adapter import IdentityAdapter
from diffsensei.models.unet import build_unet
from diffsensei.training.batch import CharacterImages, PanelBatch
from diffsensei.training.identity_adapter import IdentityAdapterObjective
from diffsensei.training.image_generator import ImageGeneratorObjective
from diffsensei.training.t2i import TextToImageObjective
from diffsensei.training.trained_parameters import select_trained
from tests.training.small_networks import CONFIG, QUERIES, WIDTH, some_batch, some_resampler, some_unet

STEPS = 300


def losses(objective: nn.Module, batch: PanelBatch, steps: int = STEPS) -> list[dict[str, float]]:
    parameters = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=3e-3)
    history = []
    for _ in range(steps):
        optimizer.zero_grad()
        torch.manual_seed(0)
        found = objective(batch, torch.Generator().manual_seed(0))
        found["loss"].backward()
        optimizer.step()
        history.append({name: float(loss.detach()) for name, loss in found.items()})
    return history


@pytest.mark.slow
def test_pretraining_learns_a_batch_by_heart() -> None:
    torch.manual_seed(0)
    batch = some_batch()
    plain = replace(batch, conditions=replace(batch.conditions, layout=None), references=None)
    unet = build_unet(CONFIG, in_channels=4, cross_attention_dim=WIDTH, pooled_dim=8)
    history = losses(TextToImageObjective(unet, scaling_factor=1.0), plain)
    assert history[-1]["loss"] < 0.02 * history[0]["loss"]


@pytest.mark.slow
@pytest.mark.parametrize(("trained", "share"), [("full", 0.02), ("lora", 0.6), ("new", 0.8), ("ip", 0.9)])
def test_stage_1_learns_a_batch_by_heart(trained: str, share: float) -> None:
    """Wholly where all is trained; with the smaller selections, on a network that never learnt to draw, in part."""
    unet = some_unet()
    select_trained(unet, tiny().training.stage1.replaced(trained=trained, lora_rank=2, lora_alpha=4.0))
    history = losses(ImageGeneratorObjective(unet, some_resampler(), scaling_factor=1.0), some_batch())
    assert history[-1]["loss"] < share * history[0]["loss"]


@pytest.mark.slow
def test_stage_2_learns_a_batch_by_heart(world: Any) -> None:
    """Its own two losses; the diffusion loss cannot vanish, as the image generator is frozen."""
    torch.manual_seed(3)
    language_model = load_llm(world.foundations["llm"])
    with torch.no_grad():  # a trained head tells words apart; the rows of a fresh one, which stay, are all near zero
        language_model.model.lm_head.weight.mul_(25.0)
    config = tiny().model.adapter.replaced(lora_dropout=0.0, resampler_heads=2)
    torch.manual_seed(3)
    adapter = IdentityAdapter(
        language_model.model,
        language_model.tokenizer,
        config,
        num_characters=2,
        num_queries=QUERIES,
        token_dim=WIDTH,
    )
    targets = CharacterImages(torch.randn(2, 2, 5, 10), torch.randn(2, 2, 6))
    batch = replace(some_batch(), targets=targets, captions=("a boy runs", "a girl laughs"))
    objective = IdentityAdapterObjective(adapter, some_unet(), some_resampler(), config, scaling_factor=1.0)
    history = losses(objective, batch, steps=3 * STEPS)
    assert history[-1]["lm_loss"] < 0.02 * history[0]["lm_loss"]
    assert history[-1]["rec_loss"] < 0.02 * history[0]["rec_loss"]
