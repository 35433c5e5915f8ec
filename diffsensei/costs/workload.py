"""What a stage's cost is counted from, and the sums that all trainings and all drawing have in common.

Where a stage runs for so many steps, its data does not matter but for the shares of its size tiers; where it goes once
over the data, the number of panels does.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from diffsensei.config import ExperimentConfig
from diffsensei.config.schema import SamplingConfig, TrainStageConfig
from diffsensei.costs.counting import PassCost, count_weights
from diffsensei.costs.data_size import DataSize
from diffsensei.costs.passes import Passes
from diffsensei.training.sharding import BLOCKS

CROPS_PER_PANEL = 1.5
"""Assumed characters of a panel."""
STATE_BYTES, CAST_BYTES, AVERAGE_BYTES = 16, 2, 4
"""A trained parameter: float32 weight, gradient and AdamW's two moments; its copy in bfloat16 while a step runs; its
moving average."""
HALF, FLOAT = 2, 4
"""Bytes of a frozen parameter in bfloat16, and in float32."""


@dataclass(frozen=True)
class StageCost:
    """One stage."""

    teraflop: float
    """10^12 operations, over all processes."""
    memory_bytes: int
    """On each process: weights, optimizer, and the activations of its largest batch."""
    left_out: tuple[str, ...] = ()
    """Parts of it that could not be counted."""


@dataclass(frozen=True)
class Weights:
    """What a process holds of networks, and how sharding would split it."""

    learnt: int = 0
    """Trained parameters."""
    frozen_bytes: int = 0
    """Of all others that a loss goes through."""
    beside_bytes: int = 0
    """Of networks that only prepare what is trained on: never sharded."""
    outside_blocks: int = 0
    """Parameters that are gathered for a whole pass,"""
    largest_block: int = 0
    """and those of the largest block that is gathered when it runs."""

    def __add__(self, other: "Weights") -> "Weights":
        return Weights(
            self.learnt + other.learnt,
            self.frozen_bytes + other.frozen_bytes,
            self.beside_bytes + other.beside_bytes,
            self.outside_blocks + other.outside_blocks,
            max(self.largest_block, other.largest_block),
        )

    def held_bytes(self, state_bytes: int) -> int:
        """On every process, with ``state_bytes`` for each trained parameter."""
        return self.learnt * state_bytes + self.frozen_bytes + self.beside_bytes

    def sharded_bytes(self, state_bytes: int, num_processes: int) -> int:
        """The same in parts on ``num_processes``, with what is gathered at a time: a block, and the next one."""
        parts = (self.learnt * state_bytes + self.frozen_bytes) // num_processes
        return parts + self.beside_bytes + CAST_BYTES * (self.outside_blocks + 2 * self.largest_block)


def weights_of(network: nn.Module, frozen_bytes: int) -> Weights:
    """Of ``network``, which declares what is trained; ``frozen_bytes`` each for the rest."""
    learnt, frozen = count_weights(network)
    blocks = [sum(count_weights(module)) for module in network.modules() if isinstance(module, BLOCKS)]
    return Weights(
        learnt,
        frozen * frozen_bytes,
        outside_blocks=learnt + frozen - sum(blocks),
        largest_block=max(blocks, default=0),
    )


def weights_beside(network: nn.Module) -> Weights:
    """Of a frozen ``network`` that no loss goes through, in bfloat16."""
    return Weights(beside_bytes=HALF * sum(count_weights(network)))


@dataclass(frozen=True, eq=False)
class Workload:
    """A configuration on an amount of data."""

    config: ExperimentConfig
    data: DataSize
    passes: Passes

    def of_unet(self, cost: PassCost) -> PassCost:
        """``cost`` of a UNet in training, whose activations may be computed again."""
        return cost.recomputed() if self.config.runtime.gradient_checkpointing == "all" else cost

    def of_llm(self, cost: PassCost) -> PassCost:
        """The same of a language model."""
        return cost if self.config.runtime.gradient_checkpointing == "none" else cost.recomputed()

    @property
    def tiers(self) -> tuple[int, ...]:
        """Edges (pixels) of the square panels that stand for a size tier each: its shapes cost about the same."""
        return self.config.data.buckets.tiers

    @property
    def num_seeds(self) -> int:
        """How often the benchmark is drawn."""
        return len(self.config.evaluation.seeds)

    def trained(
        self, stage: TrainStageConfig, panel: Callable[[int], PassCost], weights: Weights, kept_more: int = 0
    ) -> StageCost:
        """``panel`` is everything that is computed for one panel of a tier, from what its batch is read from to the
        gradients. ``kept_more``: activations of the largest batch beyond the panels'."""
        passes = [panel(tier) for tier in self.tiers]
        per_step = sum(
            share * batch * cost.total
            for share, batch, cost in zip(self.step_shares(stage), stage.global_batch_size, passes, strict=True)
        )
        kept = max(batch * cost.kept_bytes for batch, cost in zip(stage.micro_batch_size, passes, strict=True))
        state = STATE_BYTES + (AVERAGE_BYTES if stage.ema_decay is not None else 0)
        if self.config.runtime.parallelism == "shard":
            held = weights.sharded_bytes(state, self.config.training.num_processes)
        else:
            held = weights.held_bytes(state + CAST_BYTES)
        return StageCost(stage.steps * per_step / 1e12, held + kept + kept_more)

    def drawn(
        self, panel: Callable[[int, int], float], weights: Weights, *, window: int = 0, vae: str = ""
    ) -> StageCost:
        """Every panel of the benchmark but the given ones, at each seed. ``panel`` has the operations of a panel of a
        tier that sees so many earlier ones, at most ``window``. ``vae``: the autoencoder, SDXL's unless named."""
        total = sum(
            panels * self.held_out_mean(lambda side, seen=earlier: panel(side, seen))  # type: ignore[misc]
            for earlier, panels in self.data.held_out.earlier(window, given=True).items()
        )
        autoencoder = FLOAT * self.passes.vae_weights(vae or self.config.model.foundations.vae)
        return StageCost(self.num_seeds * total / 1e12, weights.held_bytes(0) + autoencoder)

    def denoised(self, sampling: SamplingConfig, side: int, branch: float, vae: str = "") -> float:
        """Operations of one panel's sampling and decoding, where ``branch`` has those of all steps under one of
        guidance's two conditions."""
        guided = 1 if sampling.guidance_scale <= 1 else 2
        return guided * branch + self.passes.vae_decode(vae or self.config.model.foundations.vae, side)

    def training_mean(self, cost: Callable[[int], float]) -> float:
        """Over the training panels' tiers."""
        return sum(share * cost(tier) for share, tier in zip(self.data.training.shares, self.tiers, strict=True))

    def held_out_mean(self, cost: Callable[[int], float]) -> float:
        """Over the held-out panels' tiers."""
        return sum(
            share * cost(tier) for share, tier in zip(self.data.held_out.shares, self.tiers, strict=True) if share
        )

    def step_shares(self, stage: TrainStageConfig) -> list[float]:
        """Of steps, by tier: a step takes one in proportion to the batches that its panels make."""
        shares = self.data.training.shares
        batches = [share / size for share, size in zip(shares, stage.global_batch_size, strict=True)]
        return [value / sum(batches) for value in batches]


CountCost = Callable[[Workload], StageCost]
Costs = Mapping[str, CountCost]
"""Name of a stage -> how its cost is counted, which raises NotCounted where it cannot be."""
