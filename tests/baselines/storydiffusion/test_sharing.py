"""Consistent self-attention: what is read, what is banked, and its limits."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor2_0

from diffsensei.baselines.storydiffusion.sharing import (
    Following,
    Schedule,
    SharedSelfAttention,
    Sharing,
    Together,
    share_self_attention,
)
from diffsensei.config.baselines import SharingConfig
from diffsensei.config.schema import UNetConfig
from diffsensei.models.unet import build_unet

ALWAYS = SharingConfig(
    identity_panels=3,
    page_side=32,
    sample_rate=0.5,
    unshared_steps=0,
    early_steps=0,
    early_rate=1.0,
    late_rate=1.0,
)
PANELS, BRANCHES, TOKENS, WIDTH = 3, 2, 8, 16


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    torch.manual_seed(0)
    config = UNetConfig(
        block_out_channels=(32, 64),
        transformer_layers_per_block=(1, 1),
        layers_per_block=1,
        attention_head_dim=(2, 4),
        addition_time_embed_dim=8,
    )
    return build_unet(config, in_channels=4, cross_attention_dim=24, pooled_dim=16).eval().requires_grad_(False)


def tokens() -> torch.Tensor:
    return torch.randn(BRANCHES * PANELS, TOKENS, WIDTH, generator=torch.Generator().manual_seed(1))


def predict(unet: UNet2DConditionModel, rows: torch.Tensor, sharing: Sharing | None) -> torch.Tensor:
    """One step for latents of ``rows`` (R*n, 4, 8, 8); text depends on the row of the whole batch only."""
    kwargs: dict[str, Any] = {} if sharing is None else {"cross_attention_kwargs": {"condition": sharing}}
    text = torch.randn(len(rows), 5, 24, generator=torch.Generator().manual_seed(2))
    added = {"text_embeds": torch.zeros(len(rows), 16), "time_ids": torch.full((len(rows), 6), 64.0)}
    return unet(rows, torch.full((len(rows),), 500), text, added_cond_kwargs=added, **kwargs).sample


def latents(count: int) -> torch.Tensor:
    return torch.randn(count, 4, 8, 8, generator=torch.Generator().manual_seed(3))


def test_only_the_up_blocks_self_attention_shares(unet: UNet2DConditionModel) -> None:
    share_self_attention(unet)
    sharing = {name for name, processor in unet.attn_processors.items() if isinstance(processor, SharedSelfAttention)}
    assert sharing == {name for name in unet.attn_processors if name.startswith("up_blocks") and "attn1" in name}
    assert sharing


@pytest.mark.parametrize("config", [ALWAYS.replaced(sample_rate=0.0), ALWAYS.replaced(late_rate=0.0)])
def test_without_samples_or_gates_it_is_plain_sdxl(unet: UNet2DConditionModel, config: SharingConfig) -> None:
    unet.set_attn_processor(AttnProcessor2_0())
    rows = latents(BRANCHES * PANELS)
    plain = predict(unet, rows, None)
    share_self_attention(unet)
    together = Together(Schedule(config, 0), PANELS)
    torch.testing.assert_close(predict(unet, rows, together), plain)
    following = predict(unet, rows, Following(Schedule(config, 0), together.bank))
    torch.testing.assert_close(following, plain)


def test_at_rate_one_everybody_reads_everything_of_its_branch() -> None:
    x = tokens()
    context = Together(Schedule(ALWAYS.replaced(sample_rate=1.0), 0), PANELS).context("layer", x)
    assert context.shape == (BRANCHES * PANELS, PANELS * TOKENS, WIDTH)
    by_branch = x.view(BRANCHES, PANELS, TOKENS, WIDTH)
    for branch in range(BRANCHES):
        for panel in range(PANELS):
            others = [by_branch[branch, other] for other in range(PANELS) if other != panel]
            expected = torch.cat([*others, by_branch[branch, panel]])
            assert torch.equal(context[branch * PANELS + panel], expected)


def test_gathering_equals_a_mask() -> None:
    """Attention over gathered tokens is attention over all tokens of the branch with the unsampled ones masked."""
    x = tokens()
    schedule = Schedule(ALWAYS, 5)
    context = Together(schedule, PANELS).context("layer", x)
    gathered = F.scaled_dot_product_attention(x, context, context)
    sampled = schedule.sampled(0, PANELS, TOKENS)
    mask = torch.zeros(PANELS, TOKENS, PANELS, TOKENS, dtype=torch.bool)
    for panel in range(PANELS):
        mask[:, :, panel, torch.from_numpy(sampled[panel])] = True
        mask[panel, :, panel] = True
    everything = x.view(BRANCHES, PANELS * TOKENS, WIDTH)
    masked = F.scaled_dot_product_attention(
        everything, everything, everything, attn_mask=mask.view(PANELS * TOKENS, PANELS * TOKENS)
    )
    torch.testing.assert_close(gathered, masked.view(BRANCHES * PANELS, TOKENS, WIDTH))


def test_branches_never_read_each_other() -> None:
    x = tokens()
    changed = x.clone()
    changed[:PANELS] += 1.0
    first, second = (Together(Schedule(ALWAYS, 0), PANELS).context("layer", rows) for rows in (x, changed))
    assert torch.equal(first[PANELS:], second[PANELS:])
    assert not torch.equal(first[:PANELS], second[:PANELS])


def test_one_sample_a_step_for_all_layers_of_a_size() -> None:
    schedule = Schedule(ALWAYS, 0)
    assert np.array_equal(schedule.sampled(3, PANELS, 64), schedule.sampled(3, PANELS, 64))
    assert not np.array_equal(schedule.sampled(3, PANELS, 64), schedule.sampled(4, PANELS, 64))
    rows = schedule.sampled(3, PANELS, 64)
    assert rows.shape == (PANELS, 32)
    assert all(len(set(row)) == 32 for row in rows.tolist())


def test_first_steps_are_banked_whole_and_later_panels_read_them() -> None:
    config = ALWAYS.replaced(unshared_steps=1)
    schedule = Schedule(config, 0)
    together, x = Together(schedule, PANELS), tokens()
    assert together.context("layer", x) is x
    later = torch.randn(BRANCHES * 2, TOKENS, WIDTH)
    context = Following(schedule, together.bank).context("layer", later)
    assert context.shape[1] == PANELS * TOKENS + TOKENS
    assert torch.equal(context[0, : PANELS * TOKENS], x[:PANELS].flatten(0, 1))
    assert torch.equal(context[3, : PANELS * TOKENS], x[PANELS:].flatten(0, 1))
    assert torch.equal(context[:, PANELS * TOKENS :], later)


def test_later_panels_leave_the_bank_alone(unet: UNet2DConditionModel) -> None:
    share_self_attention(unet)
    together = Together(Schedule(ALWAYS, 0), PANELS)
    predict(unet, latents(BRANCHES * PANELS), together)
    before = {key: value.clone() for key, value in together.bank.items()}
    predict(unet, latents(BRANCHES), Following(Schedule(ALWAYS, 0), together.bank))
    assert before.keys() == together.bank.keys()
    assert all(torch.equal(before[key], together.bank[key]) for key in before)


def test_gates_open_at_their_rates() -> None:
    config = ALWAYS.replaced(early_steps=20, early_rate=0.7, late_rate=0.9)
    schedule = Schedule(config, 1)
    shares = [[schedule.shares(step, f"layer {layer}", "together") for layer in range(200)] for step in (3, 19, 20, 40)]
    assert np.mean(shares[:2]) == pytest.approx(0.7, abs=0.06)
    assert np.mean(shares[2:]) == pytest.approx(0.9, abs=0.05)
