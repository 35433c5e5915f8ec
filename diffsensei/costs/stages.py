"""What each stage of DiffSensei costs: operations in all, and memory on each GPU.

Counted are UNet, autoencoder, language model, text and image encoders, which make up more than nine tenths.
"""

from diffsensei.config.schema import GeneratorStageConfig
from diffsensei.costs.counting import PassCost
from diffsensei.costs.workload import CROPS_PER_PANEL, FLOAT, HALF, Costs, StageCost, Weights, Workload, weights_of


def _features(work: Workload) -> StageCost:
    vae, cache = work.config.model.foundations.vae, work.config.data.cache
    panels = work.data.training.count
    total = panels * work.training_mean(lambda side: work.passes.vae_encode(vae, side))
    if cache.text:
        total += panels * work.passes.captions
    if cache.characters:
        total += 2 * CROPS_PER_PANEL * panels * work.passes.image_encoders  # each crop and its mirror image
    return StageCost(total / 1e12, FLOAT * work.passes.vae_weights(vae))


def _pretrain(work: Workload) -> StageCost:
    stage = work.config.training.pretrain
    whole = GeneratorStageConfig(**stage.model_dump(), trained="full")
    weights = weights_of(work.passes.network(whole, False), FLOAT)
    return work.trained(
        stage, lambda side: _seen(work, 0) + work.of_unet(work.passes.unet(side, whole, False, True)), weights
    )


def _stage1(work: Workload) -> StageCost:
    stage = work.config.training.stage1
    weights = weights_of(work.passes.network(stage, True), FLOAT)
    return work.trained(
        stage, lambda side: _seen(work, 1) + work.of_unet(work.passes.unet(side, stage, True, True)), weights
    )


def _stage2(work: Workload) -> StageCost:
    """Each character is encoded twice, as its reference and as the panel shows it."""
    stage, llm = work.config.training.stage2, work.of_llm(work.passes.adapter_prompt)
    return work.trained(
        stage,
        lambda side: _seen(work, 2) + llm + work.of_unet(work.passes.unet(side, None, True, True)),
        weights_of(work.passes.network(None, True), HALF) + weights_of(work.passes.llm, HALF),
    )


def _seen(work: Workload, crops: int) -> PassCost:
    """The encoders' part of a panel, ``crops`` for each of its characters, unless it was computed before."""
    cache = work.config.data.cache
    operations = 0.0 if cache.text else work.passes.captions
    if not cache.characters:
        operations += crops * CROPS_PER_PANEL * work.passes.image_encoders
    return PassCost(operations)


def _drawn(work: Workload, *, conditioned: bool, adapted: bool = False) -> StageCost:
    return work.drawn(
        lambda side, _: panel_operations(work, side, conditioned=conditioned, adapted=adapted),
        drawing_weights(work, conditioned=conditioned, adapted=adapted),
    )


def panel_operations(work: Workload, side: int, *, conditioned: bool, adapted: bool) -> float:
    """To draw one panel with SDXL; ``conditioned`` by characters, whose tokens are ``adapted`` by the language
    model."""
    passes, sampling = work.passes, work.config.sampling
    before = passes.captions
    if conditioned:
        before += CROPS_PER_PANEL * passes.image_encoders
    if adapted and sampling.adapter_blend:
        before += passes.adapter_prompt.forward
    return before + work.denoised(sampling, side, passes.loop(side, conditioned, sampling.steps))


def drawing_weights(work: Workload, *, conditioned: bool, adapted: bool) -> Weights:
    """What such drawing holds beside the autoencoder."""
    unet = weights_of(work.passes.network(None, conditioned), HALF)
    return unet + weights_of(work.passes.llm, HALF) if adapted else unet


COSTS: Costs = {
    "features": _features,
    "pretrain": _pretrain,
    "stage1": _stage1,
    "stage2": _stage2,
    "generate_sdxl_t2i": lambda work: _drawn(work, conditioned=False),
    "generate_stage1": lambda work: _drawn(work, conditioned=True),
    "generate_diffsensei": lambda work: _drawn(work, conditioned=True, adapted=True),
}
