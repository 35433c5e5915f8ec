"""What each stage of DiffSensei costs: operations in all, and memory on each GPU.

Counted are UNet, autoencoder, language model and image encoders, which make up more than nine tenths. Where a stage
runs for so many steps, its data does not matter but for the shares of its size tiers; where it goes once over the data,
the number of panels does.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from diffsensei.config import ExperimentConfig
from diffsensei.config.schema import GeneratorStageConfig, TrainStageConfig
from diffsensei.costs.data_size import DataSize
from diffsensei.costs.passes import Passes

CROPS_PER_PANEL = 1.5
"""Assumed characters of a panel."""
STATE_BYTES, CAST_BYTES, AVERAGE_BYTES = 16, 2, 4
"""A trained parameter: float32 weight, gradient and AdamW's two moments; its copy in bfloat16 while a step runs; its
moving average."""
FROZEN_BYTES = 2
"""A frozen parameter, in bfloat16."""


@dataclass(frozen=True)
class StageCost:
    """One stage."""

    name: str
    teraflop: float
    """10^12 operations, over all processes."""
    memory_bytes: int
    """On each process: weights, optimizer, and the activations of its largest batch without recomputation."""


def stage_costs(config: ExperimentConfig, data: DataSize) -> Iterator[StageCost]:
    """Every stage of the pipeline that networks work in, baselines and scoring excepted; seconds each to count."""
    costs = _Costs(config, Passes(config), data)
    training = config.training
    yield costs.features()
    text_to_image = GeneratorStageConfig(**training.pretrain.model_dump(), trained="full")
    yield costs.training("pretrain", training.pretrain, text_to_image, conditioned=False)
    stage1 = costs.training("stage1", training.stage1, training.stage1, conditioned=True)
    yield costs.with_image_encoders(stage1, training.stage1, crops=1)
    stage2 = costs.with_language_model(
        costs.training("stage2", training.stage2, None, conditioned=True), training.stage2
    )
    yield costs.with_image_encoders(stage2, training.stage2, crops=2)
    for name, conditioned in (("sdxl_t2i", False), ("stage1", True), ("diffsensei", True)):
        yield costs.generation(f"generate_{name}", conditioned=conditioned)


class _Costs:
    def __init__(self, config: ExperimentConfig, passes: Passes, data: DataSize) -> None:
        self._config, self._passes, self._data = config, passes, data
        self._tiers = config.data.buckets.tiers

    def features(self) -> StageCost:
        total = self._data.panels * self._mean(self._passes.vae_encode)
        if self._config.data.cache.characters:
            total += (
                2 * CROPS_PER_PANEL * self._data.panels * self._passes.image_encoders
            )  # each crop and its mirror image
        return StageCost("features", total / 1e12, 4 * self._passes.vae_weights)

    def training(
        self, name: str, stage: TrainStageConfig, trained: GeneratorStageConfig | None, *, conditioned: bool
    ) -> StageCost:
        passes = [self._passes.unet(tier, trained, conditioned, True) for tier in self._tiers]
        per_step = sum(
            share * batch * cost.total
            for share, batch, cost in zip(self._step_shares(stage), stage.global_batch_size, passes, strict=True)
        )
        kept = max(batch * cost.kept_bytes for batch, cost in zip(stage.micro_batch_size, passes, strict=True))
        learnt, frozen = self._passes.unet_weights(trained, conditioned=conditioned)
        state = STATE_BYTES + CAST_BYTES + (AVERAGE_BYTES if stage.ema_decay is not None else 0)
        return StageCost(name, stage.steps * per_step / 1e12, learnt * state + frozen * FROZEN_BYTES + kept)

    def with_language_model(self, cost: StageCost, stage: TrainStageConfig) -> StageCost:
        llm = self._passes.llm
        recomputed = self._config.runtime.gradient_checkpointing != "none"
        per_panel = llm.total + (llm.forward if recomputed else 0.0)
        kept = 0 if recomputed else max(stage.micro_batch_size) * llm.kept_bytes
        return replace(
            cost,
            teraflop=cost.teraflop + self._panels_seen(stage) * per_panel / 1e12,
            memory_bytes=cost.memory_bytes + FROZEN_BYTES * self._passes.llm_weights + kept,
        )

    def with_image_encoders(self, cost: StageCost, stage: TrainStageConfig, crops: int) -> StageCost:
        """``crops``: how often each character is encoded in a visit, unless its features are cached."""
        if self._config.data.cache.characters:
            return cost
        more = crops * CROPS_PER_PANEL * self._panels_seen(stage) * self._passes.image_encoders
        return replace(cost, teraflop=cost.teraflop + more / 1e12)

    def generation(self, name: str, *, conditioned: bool) -> StageCost:
        """Once for each evaluation seed; guidance takes two passes a step."""
        sampling = self._config.sampling
        guided = 1 if sampling.guidance_scale <= 1 else 2

        def panel(side: int) -> float:
            step = self._passes.unet(side, None, conditioned, False).total
            return sampling.steps * guided * step + self._passes.vae_decode(side)

        panels = len(self._config.evaluation.seeds) * self._data.held_out
        weights = sum(self._passes.unet_weights(None, conditioned=conditioned))
        return StageCost(name, panels * self._mean(panel) / 1e12, FROZEN_BYTES * weights + 4 * self._passes.vae_weights)

    def _mean(self, cost: Callable[[int], float]) -> float:
        return sum(share * cost(tier) for share, tier in zip(self._data.shares, self._tiers, strict=True))

    def _step_shares(self, stage: TrainStageConfig) -> list[float]:
        """Of steps, by tier: a step takes one in proportion to the batches that its panels make."""
        batches = [share / size for share, size in zip(self._data.shares, stage.global_batch_size, strict=True)]
        return [value / sum(batches) for value in batches]

    def _panels_seen(self, stage: TrainStageConfig) -> float:
        per_step = zip(self._step_shares(stage), stage.global_batch_size, strict=True)
        return stage.steps * sum(share * size for share, size in per_step)
