"""What the training stages share: the process' accelerator, the stored data, the loop, and the record they leave."""

import json
import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, Unpack

import torch
from accelerate import Accelerator
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from pydantic import with_config
from torch import nn
from transformers import LlamaForCausalLM
from typing_extensions import TypedDict

from diffsensei.config.schema import BucketConfig, BucketDraw, Precision, RuntimeConfig, TrainStageConfig
from diffsensei.data.panels.panel_set import PanelSet
from diffsensei.data.panels.training_panels import TrainingPanels, read_training_panels
from diffsensei.foundations.loading import load_clip_image_encoder, load_magi_image_encoder, load_text_encoder
from diffsensei.models.compilation import compile_blocks
from diffsensei.seeding import stream_seed
from diffsensei.training.batch_plan import BatchPlan, plan_batches
from diffsensei.training.feature_store import (
    CharacterFeatures,
    EncodedCharacters,
    EncodedText,
    FeatureSources,
    PanelMoments,
    StoredCharacters,
    StoredText,
    TextFeatures,
    read_index,
)
from diffsensei.training.metrics import PANELS_PER_S
from diffsensei.training.trainer import Batches, TrainableStage, train

RECORD = "training.json"
"""What every training leaves beside its weights."""


def is_own(output: Path) -> bool:
    """Whether a stage of this project trained the weights in ``output``: imported ones have no record."""
    return (output / RECORD).is_file()


@with_config(extra="forbid")
class Setting(TypedDict):
    """What every training stage is told beside its recipe."""

    seed: int
    num_processes: int
    """Of training.*, as the precision."""
    mixed_precision: Precision
    bucket_draw: BucketDraw
    runtime: RuntimeConfig
    buckets: BucketConfig
    """data.buckets, which the features must have been made with."""
    panels: Path
    """The output of that stage,"""
    features: Path
    """and of this one."""
    workspace: Path
    output: Path


class StageRun:
    """One training stage in this process, between its stored inputs and its output folder."""

    def __init__(self, label: str, config: TrainStageConfig, vae: str, **setting: Unpack[Setting]) -> None:
        """``vae``: the autoencoder that the features must have been made with.

        Raises ValueError when launched with another number of processes, or when the features are not there or were
        made of other panels, buckets or another autoencoder.
        """
        self._label, self._config, self._seed = label, config, setting["seed"]
        self._folder, self._features = setting["panels"] / "train", setting["features"]
        self._workspace, self.output = setting["workspace"], setting["output"]
        self._buckets, self._vae, self.runtime = setting["buckets"], vae, setting["runtime"]
        self._bucket_draw, num_processes = setting["bucket_draw"], setting["num_processes"]
        self._index = read_index(self._features)
        self._require_sources()
        self.moments = PanelMoments(self._features, self._index)
        self._accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=setting["mixed_precision"])
        torch.set_num_threads(max(1, self.runtime.num_threads // num_processes))
        if self._accelerator.num_processes != num_processes:
            raise ValueError(
                f"expected {num_processes} processes (training.num_processes), was launched with "
                f"{self._accelerator.num_processes}; use accelerate launch --num_processes {num_processes}"
            )
        # Initial weights draw from the global generator: a stream of its own per stage.
        torch.manual_seed(stream_seed(self._seed, "initial weights", label))

    @property
    def is_main(self) -> bool:
        """Whether this process writes the output."""
        return self._accelerator.is_main_process

    @property
    def device(self) -> torch.device:
        """Where this process trains."""
        return self._accelerator.device

    @property
    def low_precision(self) -> torch.dtype:
        """What frozen weights are held in: under bfloat16 autocast a float32 copy would only take room."""
        return torch.bfloat16 if self._accelerator.mixed_precision == "bf16" else torch.float32

    @cached_property
    def panel_set(self) -> PanelSet:
        """The training panels' images."""
        return PanelSet(self._folder)

    def _require_sources(
        self,
        text_encoders: Sequence[str] = (),
        image_encoders: Sequence[str] = (),
        magi_patches: Literal["all", "masked"] = "all",
    ) -> None:
        sources = FeatureSources.of(
            self.panel_set,
            self._buckets,
            self._vae,
            text_encoders=text_encoders,
            image_encoders=image_encoders,
            magi_patches=magi_patches,
        )
        self._index.require(sources, self._features)

    def read_panels(
        self, min_reference_side: int = 0, boxes: Literal["corrected", "uncropped"] = "corrected"
    ) -> TrainingPanels:
        """The training panels."""
        return read_training_panels(
            self._folder, self.moments.panel_buckets, self.moments.buckets, min_reference_side, boxes
        )

    def plan(self) -> BatchPlan:
        sizes = self._config.global_batch_size, self._config.micro_batch_size
        return plan_batches(self._bucket_draw, self.moments, *sizes, self._seed)

    def text(self, panels: TrainingPanels, references: tuple[str, str]) -> TextFeatures:
        """Stored text features, or the encoders named by ``references``; ValueError when others made the former."""
        if self._index.text:
            self._require_sources(text_encoders=references)
            return StoredText(self._features, self._index)
        encoders = [load_text_encoder(reference, dtype=self.low_precision) for reference in references]
        for encoder in encoders:
            encoder.model.to(self._accelerator.device)
        return EncodedText(encoders, panels.captions)

    def characters(
        self, clip_reference: str, magi_reference: str, magi_patches: Literal["all", "masked"]
    ) -> CharacterFeatures:
        """Stored character features, or the encoders named; ValueError when others made the former."""
        if self._index.characters:
            self._require_sources(image_encoders=(clip_reference, magi_reference), magi_patches=magi_patches)
            return StoredCharacters(self._features, self._index)
        clip = load_clip_image_encoder(clip_reference, dtype=self.low_precision)
        magi = load_magi_image_encoder(magi_reference, dtype=self.low_precision, patches=magi_patches)
        clip.model.to(self._accelerator.device)
        magi.model.to(self._accelerator.device)
        return EncodedCharacters(clip, magi, self.panel_set)

    def recompute(self, *, unet: UNet2DConditionModel | None = None, llm: LlamaForCausalLM | None = None) -> None:
        """Keep no activations of the networks in runtime.gradient_checkpointing for the backward pass."""
        networks = self.runtime.gradient_checkpointing
        if networks == "all" and unet is not None:
            unet.enable_gradient_checkpointing()
        if networks != "none" and llm is not None:
            llm.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})

    def compile(self, *, unet: UNet2DConditionModel) -> None:
        """Compile the transformer blocks of ``unet`` if runtime.compile says so; ValueError without a C++ compiler."""
        if self.runtime.compile == "blocks":
            compile_blocks(unet)

    def fit(self, objective: nn.Module, batches: Batches) -> None:
        """Train ``objective``; the main process, which alone is sure to hold all weights, then writes
        ``training.json`` and ``logs/``."""
        for parameter in objective.parameters():
            if parameter.requires_grad:  # small updates would be lost to the rounding of a lower precision
                parameter.data = parameter.data.float()
        replicated = self.runtime.parallelism == "replicate"
        if replicated:  # convolutions without reordering: a tenth faster on a CPU; only contiguous weights can be split
            objective.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        train(
            TrainableStage(self._label, objective, batches),
            self._config,
            accelerator=self._accelerator,
            seed=self._seed,
            log_every_steps=self.runtime.log_every_steps,
            workspace=self._workspace,
            parallelism=self.runtime.parallelism,
        )
        if replicated:
            objective.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # as files hold it
        if self.is_main:
            self._write_record(objective)

    def _write_record(self, objective: nn.Module) -> None:
        lines = (self._workspace / "metrics.jsonl").read_text().splitlines()
        last = {name: value for name, value in json.loads(lines[-1]).items() if name != PANELS_PER_S}
        record = {
            "stage": self._label,
            "config": self._config.model_dump(mode="json"),
            "seed": self._seed,
            "num_training_panels": len(self.moments.panel_buckets),
            "num_trained_parameters": sum(p.numel() for p in objective.parameters() if p.requires_grad),
            "last_metrics": last,
        }
        (self.output / RECORD).write_text(json.dumps(record, indent=1) + "\n")
        logs = self.output / "logs"
        logs.mkdir()
        shutil.copyfile(self._workspace / "metrics.jsonl", logs / "metrics.jsonl")
        shutil.copytree(self._workspace / "tensorboard", logs / "tensorboard")
