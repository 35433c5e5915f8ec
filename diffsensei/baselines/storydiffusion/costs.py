"""What StoryDiffusion costs: nothing is trained, and drawing reads the tokens of other panels too.

Whether a layer shares in a step is drawn by lot; the mean of both is counted.
"""

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from diffsensei.baselines.storydiffusion.sharing import Following, Schedule, Sharing, Together, share_self_attention
from diffsensei.config.baselines import SharingConfig
from diffsensei.costs.counting import count_forward
from diffsensei.costs.networks import in_bfloat16, meta_conditions, meta_unet, vae_factor
from diffsensei.costs.workload import HALF, Costs, StageCost, Workload, weights_of

BRANCHES = 2
"""Of guidance, which never read one another."""


def _draw(work: Workload) -> StageCost:
    method, vae = work.config.baselines.storydiffusion, work.config.model.foundations.vae
    unet = meta_unet(work.config).requires_grad_(False)
    share_self_attention(unet)
    in_bfloat16(unet)
    decode = work.passes.vae_decode(vae, method.sharing.page_side)
    total = 0.0
    for on_page, pages in work.data.held_out.pages.items():
        drawn = on_page - 1  # the first is given
        first = min(drawn, method.sharing.identity_panels)
        if not first:
            continue
        together, later = _page(work, unet, method.sharing, method.sampling.steps, first)
        denoised = BRANCHES * (together + (drawn - first) * later)
        total += pages * (denoised + drawn * (decode + work.passes.captions))
    weights = weights_of(unet, HALF).frozen_bytes + 4 * work.passes.vae_weights(vae)
    return StageCost(work.num_seeds * total / 1e12, weights)


def _page(
    work: Workload, unet: UNet2DConditionModel, config: SharingConfig, steps: int, first: int
) -> tuple[float, float]:
    """Operations of all steps of one branch: of ``first`` identity panels together, and of each later one."""
    # One step that banks all, unshared, and then one that shares: what the many steps of a run consist of.
    always = Schedule(config.replaced(unshared_steps=1, early_rate=1.0, late_rate=1.0), 0)
    whole, shared = Together(always, first), Together(always, first, step=1)
    apart = _pass(work, unet, config, whole, first)
    with_others = _pass(work, unet, config, shared, first)
    after_all = _pass(work, unet, config, Following(always, whole.bank), 1)
    after_samples = _pass(work, unet, config, Following(always, shared.bank, step=1), 1)
    together = later = 0.0
    for step in range(steps):
        rate = config.early_rate if step < config.early_steps else config.late_rate
        if step < config.unshared_steps:
            together, later = together + apart, later + after_all
        else:
            together += apart + rate * (with_others - apart)
            later += apart / first + rate * (after_samples - apart / first)
    return together, later


def _pass(work: Workload, unet: UNet2DConditionModel, config: SharingConfig, sharing: Sharing, panels: int) -> float:
    conditions = meta_conditions(work.config, panels)
    edge = config.page_side // vae_factor(work.config.model.foundations.vae)
    latents = torch.empty(panels, unet.config["in_channels"], edge, edge, device="meta", dtype=torch.bfloat16)

    def run() -> Tensor:
        predicted: Tensor = unet(
            latents,
            torch.empty(panels, device="meta"),
            encoder_hidden_states=conditions.text_tokens,
            added_cond_kwargs={"text_embeds": conditions.pooled_text, "time_ids": conditions.time_ids},
            cross_attention_kwargs={"condition": sharing},
            return_dict=False,
        )[0]
        return predicted

    return count_forward(unet, run)


COSTS: Costs = {"generate_storydiffusion": _draw}
