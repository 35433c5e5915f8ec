"""What MS-Diffusion costs, without and with dialogs: SDXL with subject attention, and its own image encoder.

The grounding resampler is left out: less than a hundredth of the UNet.
"""

from functools import partial

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from diffsensei.baselines.ms_diffusion.network import add_subjects
from diffsensei.config.schema import GeneratorStageConfig
from diffsensei.costs.counting import PassCost
from diffsensei.costs.networks import in_bfloat16, meta_conditions, meta_unet, meta_vision_tower
from diffsensei.costs.workload import (
    CROPS_PER_PANEL,
    FLOAT,
    HALF,
    Costs,
    StageCost,
    Weights,
    Workload,
    weights_beside,
    weights_of,
)
from diffsensei.training.trained_parameters import select_trained


def _train(work: Workload, recipe: str, dialogs: str) -> StageCost:
    """References are the panel's own crops, encoded once a visit unless stage ``features`` keeps that encoder's."""
    method = work.config.baselines.ms_diffusion
    stage: GeneratorStageConfig = getattr(method, recipe)
    unet = _network(work, dialogs).requires_grad_(False)
    select_trained(unet, stage)
    cache = work.config.data.cache
    stored = cache.characters and method.clip_image_encoder == work.config.model.foundations.clip_image_encoder
    before = 0.0 if cache.text else work.passes.captions
    before += 0.0 if stored else CROPS_PER_PANEL * work.passes.image(method.clip_image_encoder)
    conditions = meta_conditions(work.config, 1, queries=method.grounding.num_queries)
    return work.trained(
        stage,
        lambda side: PassCost(before) + work.of_unet(work.passes.sdxl(unet, side, conditions, backward=True)),
        weights_of(unet, FLOAT) + _encoder(work),
    )


def _draw(work: Workload, dialogs: str) -> StageCost:
    method, passes = work.config.baselines.ms_diffusion, work.passes
    unet = _network(work, dialogs).requires_grad_(False)
    conditions = meta_conditions(work.config, 1, queries=method.grounding.num_queries)
    before = passes.captions + CROPS_PER_PANEL * passes.image(method.clip_image_encoder)

    def panel(side: int, _: int) -> float:
        branch = passes.sdxl_loop(unet, side, conditions, method.sampling.steps)
        return before + work.denoised(method.sampling, side, branch)

    return work.drawn(panel, weights_of(unet, HALF) + _encoder(work))


def _network(work: Workload, dialogs: str) -> UNet2DConditionModel:
    unet = meta_unet(work.config)
    queries = work.config.baselines.ms_diffusion.grounding.num_queries
    with torch.device("meta"):
        add_subjects(unet, queries, work.config.data.conditioning.max_characters, dialogs)
    return in_bfloat16(unet)


def _encoder(work: Workload) -> Weights:
    return weights_beside(meta_vision_tower(work.config.baselines.ms_diffusion.clip_image_encoder)[0])


COSTS: Costs = {
    "ms_diffusion": partial(_train, recipe="training", dialogs="none"),
    "generate_ms_diffusion": partial(_draw, dialogs="none"),
    "ms_diffusion_dialogs": partial(_train, recipe="dialogs_training", dialogs="mask"),
    "generate_ms_diffusion_dialogs": partial(_draw, dialogs="mask"),
}
