"""One complete experiment. Presets (`presets.py`) give complete values of it."""

import math
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, model_validator

from diffsensei.config.base import Config, NonNegativeInt
from diffsensei.config.baselines import BaselinesConfig
from diffsensei.config.gate import GateConfig
from diffsensei.config.jobs import JobsConfig
from diffsensei.config.schema import (
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    ReleaseConfig,
    ReportConfig,
    RuntimeConfig,
    SamplingConfig,
    StudyConfig,
    TrainingConfig,
    TrainStageConfig,
)


class ExperimentConfig(Config):
    """One complete experiment: everything that decides its results, and how fast it may run."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    seed: NonNegativeInt
    data: DataConfig
    model: ModelConfig
    training: TrainingConfig
    sampling: SamplingConfig
    baselines: BaselinesConfig
    evaluation: EvaluationConfig
    study: StudyConfig
    gate: GateConfig
    release: ReleaseConfig
    report: ReportConfig
    runtime: RuntimeConfig
    jobs: JobsConfig = JobsConfig()

    def keyed(self) -> dict[str, Any]:
        """JSON of all that stages are given: everything but where jobs run, which no key may depend on."""
        return self.model_dump(mode="json", exclude={"jobs"})

    @model_validator(mode="after")
    def _batches_divide(self) -> "ExperimentConfig":
        tiers = self.data.buckets.tiers
        processes = self.training.num_processes
        for path, stage in (*_stages("training", self.training), *_stages("baselines", self.baselines)):
            for field in ("global_batch_size", "micro_batch_size"):
                if len(getattr(stage, field)) != len(tiers):
                    raise ValueError(
                        f"{path}.{field} has {len(getattr(stage, field))} entries for "
                        f"{len(tiers)} size tiers {tiers}; give one per tier"
                    )
            for tier, whole, micro in zip(tiers, stage.global_batch_size, stage.micro_batch_size, strict=True):
                unit = micro * processes
                if whole % unit:
                    usable = [str(n) for n in (whole // unit * unit, (whole // unit + 1) * unit) if n]
                    raise ValueError(
                        f"{path}.global_batch_size {whole} (tier {tier}) is not a multiple of micro {micro} x "
                        f"processes {processes} = {unit}; use {' or '.join(usable)}"
                    )
            parts = [n // micro for n, micro in zip(stage.global_batch_size, stage.micro_batch_size, strict=True)]
            if self.training.bucket_draw == "part" and len(set(parts)) > 1:
                raise ValueError(
                    f"training.bucket_draw=part needs equally many parts (global / micro batch) of every tier, "
                    f"{path} has {parts}"
                )
        return self

    @model_validator(mode="after")
    def _processes_fill_nodes(self) -> "ExperimentConfig":
        self.jobs.num_nodes(self.training.num_processes)
        return self

    @model_validator(mode="after")
    def _parts_have_holders(self) -> "ExperimentConfig":
        if self.runtime.parallelism == "shard" and self.training.num_processes == 1:
            raise ValueError(
                "runtime.parallelism shard: expected training.num_processes of 2 or more to share the weights, got 1; "
                "set runtime.parallelism=replicate"
            )
        if self.runtime.parallelism == "shard" and self.runtime.compile != "none":
            raise ValueError(
                "runtime.parallelism shard: expected runtime.compile none, got blocks; compiled blocks whose weights "
                "are gathered for each pass were not tried, so set one of the two back"
            )
        return self

    @model_validator(mode="after")
    def _slots_form_a_square(self) -> "ExperimentConfig":
        characters, queries = self.data.conditioning.max_characters, self.model.resampler.num_queries
        slots = characters * queries
        if math.isqrt(slots) ** 2 != slots:
            raise ValueError(
                f"data.conditioning.max_characters {characters} x model.resampler.num_queries {queries} = {slots} "
                f"image slots; the MLLM adapter's resamplers need a square number, such as 16 or 64"
            )
        return self

    @model_validator(mode="after")
    def _levels_agree(self) -> "ExperimentConfig":
        unet = self.model.unet
        for field in ("transformer_layers_per_block", "attention_head_dim"):
            if len(getattr(unet, field)) != len(unet.block_out_channels):
                raise ValueError(
                    f"model.unet.{field} has {len(getattr(unet, field))} entries for "
                    f"{len(unet.block_out_channels)} levels; give one per level"
                )
        return self


def _stages(path: str, section: Config) -> Iterator[tuple[str, TrainStageConfig]]:
    """The training stages of a section, by dotted path."""
    for name, value in section:
        if isinstance(value, TrainStageConfig):
            yield f"{path}.{name}", value
        elif isinstance(value, Config):
            yield from _stages(f"{path}.{name}", value)
