"""What StoryGen costs: its UNet once on a panel and, where others come before, once more on each of them."""

from functools import cache, partial

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from diffsensei.baselines.stable_diffusion import train_only
from diffsensei.baselines.stable_diffusion_costs import meta_latents, meta_sd_unet, meta_text
from diffsensei.baselines.storygen.context import Features, Read, add_context
from diffsensei.baselines.storygen.objective import context_features
from diffsensei.baselines.storygen.stages import CONTEXT_ATTENTION, SELF_ATTENTION
from diffsensei.config.baselines import StableDiffusionParts, StoryGenConfig
from diffsensei.costs.counting import PassCost, count_forward, count_pass
from diffsensei.costs.networks import in_bfloat16, meta_text_encoder, meta_vae
from diffsensei.costs.workload import FLOAT, HALF, Costs, StageCost, Weights, Workload, weights_beside, weights_of
from diffsensei.models.diffusion_loss import Noising


def _train_single(work: Workload) -> StageCost:
    method, base = work.config.baselines.storygen, work.config.baselines.stable_diffusion
    unet = _network(base, SELF_ATTENTION)
    caption = PassCost(work.passes.caption(base.text_encoder))
    return work.trained(
        method.single,
        lambda side: caption + work.of_unet(_panel(unet, base, side, None, backward=True)),
        weights_of(unet, FLOAT) + _text(base),
    )


def _train_context(work: Workload) -> StageCost:
    """Panels whose context is dropped read blanks, which cost as much; the most panels before one decide the memory."""
    method, base = work.config.baselines.storygen, work.config.baselines.stable_diffusion
    unet = _network(base, CONTEXT_ATTENTION)
    caption = work.passes.caption(base.text_encoder)
    encode = work.passes.vae_encode(base.vae, method.context_side)
    context = cache(partial(_context, unet, base, method))

    def panel(side: int) -> PassCost:
        found = []
        for earlier, rate in _read_in_training(method).items():
            operations, features = context(earlier)
            before = PassCost(operations + earlier * (caption + encode) + caption)
            found.append((rate, before + work.of_unet(_panel(unet, base, side, features, backward=True))))
        forward, backward = (
            sum(rate * getattr(cost, part) for rate, cost in found) for part in ("forward", "backward")
        )
        return PassCost(forward, backward, max(cost.kept_bytes for _, cost in found))

    held = weights_of(unet, FLOAT) + _text(base) + weights_of(meta_vae(base.vae).requires_grad_(False), FLOAT)
    return work.trained(method.context, panel, held)


def _draw(work: Workload) -> StageCost:
    """At every step: blanks and earlier panels through the UNet, and the panel under three conditions."""
    method, base = work.config.baselines.storygen, work.config.baselines.stable_diffusion
    unet = _network(base, None)
    caption = work.passes.caption(base.text_encoder)
    encode = work.passes.vae_encode(base.vae, method.context_side)

    context = cache(partial(_context, unet, base, method))

    def panel(side: int, earlier: int) -> float:
        operations, features = context(earlier)
        step = 2 * operations + 3 * _panel(unet, base, side, features, backward=False).forward
        before = 2 * caption + 2 * earlier * (caption + encode)
        return before + method.sampling.steps * step + work.passes.vae_decode(base.vae, side)

    held = weights_of(unet, HALF) + weights_beside(meta_text_encoder(base.text_encoder))
    return work.drawn(panel, held, window=method.window, vae=base.vae)


def _network(base: StableDiffusionParts, trained: str | None) -> UNet2DConditionModel:
    unet = meta_sd_unet(base)
    with torch.device("meta"):
        add_context(unet)
    in_bfloat16(unet)
    if trained is not None:
        train_only(unet, trained)
    return unet


def _text(base: StableDiffusionParts) -> Weights:
    return weights_of(meta_text_encoder(base.text_encoder).requires_grad_(False), FLOAT)


def _read_in_training(method: StoryGenConfig) -> dict[int, float]:
    """Earlier panels that a batch reads -> how often (`draw_count`)."""
    drops, rates = method.drops, dict.fromkeys((method.window, max(method.window - 1, 1), 1), 0.0)
    rates[method.window] += drops.all_rate
    rates[max(method.window - 1, 1)] += drops.all_but_one_rate
    rates[1] += 1.0 - drops.all_rate - drops.all_but_one_rate
    return rates


def _context(
    unet: UNet2DConditionModel, base: StableDiffusionParts, method: StoryGenConfig, earlier: int
) -> tuple[float, Features]:
    """Operations of the UNet on so many earlier panels of one, and what it has of them."""
    noising = Noising(scaling_factor=1.0).to("meta")
    latents = meta_latents(base, method.context_side).expand(earlier, -1, -1, -1).unsqueeze(0)
    features: Features = {}

    def run() -> Tensor:
        timesteps = torch.zeros(1, device="meta", dtype=torch.long)
        features.update(context_features(unet, noising, latents, latents, timesteps, meta_text(base, earlier)))
        return next(iter(features.values()))

    return count_forward(unet, run), features


def _panel(
    unet: UNet2DConditionModel, base: StableDiffusionParts, side: int, features: Features | None, *, backward: bool
) -> PassCost:
    condition = None if features is None else Read(features)
    latents, timesteps = meta_latents(base, side), torch.empty(1, device="meta")

    def run() -> Tensor:
        predicted: Tensor = unet(
            latents,
            timesteps,
            encoder_hidden_states=meta_text(base),
            cross_attention_kwargs={"condition": condition},
            return_dict=False,
        )[0]
        return predicted

    return count_pass(unet, run, backward=backward)


COSTS: Costs = {"storygen_single": _train_single, "storygen": _train_context, "generate_storygen": _draw}
