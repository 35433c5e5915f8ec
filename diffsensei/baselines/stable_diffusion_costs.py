"""Stable Diffusion 1.5's part in the costs of the methods on it."""

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from diffsensei.baselines.stable_diffusion import plain_config
from diffsensei.config.baselines import StableDiffusionParts
from diffsensei.costs.networks import TEXT_TOKENS, in_bfloat16, sizes, vae_factor
from diffsensei.costs.workload import FLOAT, Costs, StageCost, Workload


def meta_sd_unet(base: StableDiffusionParts) -> UNet2DConditionModel:
    """Its UNet on the meta device, as `load_sd_unet` gives it; in bfloat16, frozen."""
    known, width = sizes(base.unet), sizes(base.text_encoder)["hidden_size"]
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(
            plain_config(known, width) if known.get("addition_embed_type") == "text_time" else dict(known)
        )
    return in_bfloat16(unet).requires_grad_(False)


def meta_latents(base: StableDiffusionParts, side: int) -> Tensor:
    """Of one panel of ``side`` pixels."""
    edge = side // vae_factor(base.vae)
    return torch.empty(1, sizes(base.vae)["latent_channels"], edge, edge, device="meta", dtype=torch.bfloat16)


def meta_text(base: StableDiffusionParts, captions: int = 1) -> Tensor:
    """Tokens of ``captions``."""
    width = sizes(base.text_encoder)["hidden_size"]
    return torch.empty(captions, TEXT_TOKENS, width, device="meta", dtype=torch.bfloat16)


def _features(work: Workload) -> StageCost:
    vae = work.config.baselines.stable_diffusion.vae
    total = work.data.training.count * work.training_mean(lambda side: work.passes.vae_encode(vae, side))
    return StageCost(total / 1e12, FLOAT * work.passes.vae_weights(vae))


COSTS: Costs = {"features_sd": _features}
