"""Which parameters stage 1 trains: gradients reach those and no others, and LoRA folds into the weights."""

import copy
from pathlib import Path

import pytest
import torch

from diffsensei.config.presets import tiny
from diffsensei.config.schema import GeneratorStageConfig
from diffsensei.models.conditions import Conditions
from diffsensei.models.unet import load_unet, predict_noise, save_unet
from diffsensei.training.image_generator import ImageGeneratorObjective
from diffsensei.training.trained_parameters import merge_lora, select_trained
from tests.training.small_networks import QUERIES, WIDTH, some_batch, some_resampler, some_unet

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel  # isort: skip


def stage(trained: str) -> GeneratorStageConfig:
    return tiny().training.stage1.replaced(trained=trained, lora_rank=2, lora_alpha=4.0)


def objective(unet: UNet2DConditionModel, trained: str) -> ImageGeneratorObjective:
    resampler = some_resampler()
    select_trained(unet, stage(trained))
    return ImageGeneratorObjective(unet, resampler, scaling_factor=1.0)


def step(module: ImageGeneratorObjective) -> torch.Tensor:
    loss = module(some_batch(), torch.Generator().manual_seed(0))["loss"]
    loss.backward()
    return loss.detach()


def expected(trained: str, name: str) -> bool:
    if name.startswith("resampler.") or trained == "full":
        return True
    character = "_ip." in name or "character_box_embedding" in name
    dialog = "dialog_bbox_embedding" in name or "cond_proj" in name
    return {
        "ip": character,
        "new": character or dialog,
        "lora": character or "lora_" in name,
    }[trained]


@pytest.mark.parametrize("trained", ["full", "lora", "new", "ip"])
@pytest.mark.parametrize(("characters", "dialogs"), [("mask", "mask"), ("fourier", "fourier"), ("none", "none")])
def test_gradients_reach_exactly_what_is_trained(trained: str, characters: str, dialogs: str) -> None:
    module = objective(some_unet(characters, dialogs), trained)
    for name, parameter in module.named_parameters():
        if "lora_B" in name:  # starts at zero, which hides A's gradient
            parameter.data.normal_()
    step(module)
    asked = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    assert asked == {name for name, _ in module.named_parameters() if expected(trained, name)}
    reached = {name for name, p in module.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == asked
    if trained == "lora":
        adapted = {name.rsplit(".lora_", 1)[0] for name in asked if "lora_" in name}
        assert len(adapted) == 4 * sum(name.endswith(("attn1.to_q", "attn2.to_q")) for name in adapted) > 0


def test_lora_starts_as_nothing_and_folds_into_plain_weights(tmp_path: Path) -> None:
    unet = some_unet()
    plain = copy.deepcopy(unet)
    module = objective(unet, "lora")
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=1.0)
    batch = some_batch()
    conditions = Conditions(
        batch.conditions.text_tokens,
        batch.conditions.pooled_text,
        batch.conditions.time_ids,
        torch.randn(2, 3 * QUERIES, WIDTH),
        batch.conditions.layout,
    )
    latents, timesteps = torch.randn(2, 4, 8, 6), torch.tensor([10, 700])
    with torch.no_grad():
        before = predict_noise(plain, latents, timesteps, conditions)
        torch.testing.assert_close(predict_noise(unet, latents, timesteps, conditions), before)
    for _ in range(3):
        optimizer.zero_grad()
        step(module)
        optimizer.step()
    with torch.no_grad():
        adapted = predict_noise(unet, latents, timesteps, conditions)
        assert not torch.allclose(adapted, before, atol=1e-4)
        merge_lora(unet)
        torch.testing.assert_close(predict_noise(unet, latents, timesteps, conditions), adapted, atol=1e-5, rtol=1e-4)
    assert unet.state_dict().keys() == plain.state_dict().keys()
    save_unet(unet, tmp_path)
    state = load_unet(tmp_path).state_dict()
    assert all(torch.equal(weight, state[name]) for name, weight in unet.state_dict().items())
    assert any(
        not torch.equal(weight, plain.state_dict()[name])
        for name, weight in unet.state_dict().items()
        if name.endswith("attn1.to_q.weight")
    )


def test_merging_nothing_changes_nothing() -> None:
    unet = some_unet()
    state = {name: weight.clone() for name, weight in unet.state_dict().items()}
    merge_lora(unet)
    assert all(torch.equal(weight, state[name]) for name, weight in unet.state_dict().items())
