"""MS-Diffusion as pipeline stages: training on the manga text-to-image model, and drawing the benchmark."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch

from diffsensei.baselines.ms_diffusion.grounding import GroundingResampler
from diffsensei.baselines.ms_diffusion.method import MsDiffusion
from diffsensei.baselines.ms_diffusion.network import add_subjects, load_adapter, save_adapter
from diffsensei.baselines.ms_diffusion.objective import Constants, MsDiffusionObjective
from diffsensei.baselines.ms_diffusion.phrase import encode_phrase
from diffsensei.config.baselines import MsDiffusionConfig
from diffsensei.config.schema import BucketConfig, ConditioningConfig, Foundations
from diffsensei.foundations.loading import load_clip_image_encoder, load_text_encoder
from diffsensei.inference.generate import draw_benchmark, drawing_device
from diffsensei.methods.assembly import inference_dtype, load_image_generator, place
from diffsensei.models.character_features import blank_clip_tokens
from diffsensei.models.unet import load_unet
from diffsensei.models.weights import load_saved
from diffsensei.training.batch import ConditionedBatches
from diffsensei.training.stage_run import Checkpointing, Compilation, Precision, StageRun

GROUNDING = "grounding"


def train_ms_diffusion(
    *,
    method: MsDiffusionConfig,
    dialogs: Literal["none", "mask"],
    text_encoder: str,
    text_encoder_2: str,
    magi_image_encoder: str,
    conditioning: ConditioningConfig,
    seed: int,
    num_processes: int,
    mixed_precision: Precision,
    num_threads: int,
    buckets: BucketConfig,
    vae: str,
    log_every_steps: int,
    gradient_checkpointing: Checkpointing,
    compilation: Compilation,
    panels: Path,
    features: Path,
    pretrain: Path,
    workspace: Path,
    output: Path,
) -> None:
    """Train resampler and subject attention; writes ``adapter.safetensors`` and ``grounding/``.

    ``method`` is baselines.ms_diffusion; ``dialogs`` adds the dialog embedding of the paper's dagger; ``pretrain`` is
    the output of that stage, whose UNet stays frozen. The rest as for the stages of the paper (`training.stages`).
    """
    run = StageRun(
        "ms_diffusion" if dialogs == "none" else "ms_diffusion_dialogs",
        method.training,
        seed=seed,
        num_processes=num_processes,
        mixed_precision=mixed_precision,
        num_threads=num_threads,
        buckets=buckets,
        vae=vae,
        panels=panels,
        features=features,
        workspace=workspace,
        output=output,
    )
    training_panels = run.read_panels(conditioning.min_reference_side)
    text = run.text(training_panels, (text_encoder, text_encoder_2))
    characters = run.characters(method.clip_image_encoder, magi_image_encoder, "all")
    blank = blank_clip_tokens(load_clip_image_encoder(method.clip_image_encoder)).float()
    phrase = encode_phrase(load_text_encoder(text_encoder), method.phrase).float()
    no_text_tokens, no_pooled_text = (tensor[0] for tensor in text(np.array([0])))

    network = load_unet(pretrain / "unet")
    add_subjects(network, method.grounding.num_queries, conditioning.max_characters, dialogs)
    grounding = GroundingResampler(
        **method.grounding.model_dump(),
        clip_dim=blank.shape[-1],
        phrase_dim=len(phrase),
        output_dim=network.config["cross_attention_dim"],
    )
    run.recompute(gradient_checkpointing, unet=network)
    run.compile(compilation, unet=network)
    # References are cut from the panel itself, as the paper says of this method; drops are the method's own.
    own_crops = conditioning.replaced(
        self_condition_rate=1.0, character_drop_rate=0.0, caption_drop_rate=0.0, flip_rate=0.0
    )
    batches = ConditionedBatches(
        run.plan(), training_panels, run.moments, text, characters, own_crops, with_targets=False
    )
    constants = Constants(phrase, blank, no_text_tokens, no_pooled_text)
    objective = MsDiffusionObjective(network, grounding, constants, method.drops, run.moments.scaling_factor)
    run.fit(objective, batches, log_every_steps)
    if run.is_main:
        save_adapter(network, output)
        grounding.save_pretrained(output / GROUNDING)


def generate_ms_diffusion(
    *,
    method: MsDiffusionConfig,
    dialogs: Literal["none", "mask"],
    foundations: Foundations,
    conditioning: ConditioningConfig,
    seeds: tuple[int, ...],
    num_threads: int,
    benchmark: Path,
    pretrain: Path,
    trained: Path,
    workspace: Path,
    output: Path,
) -> None:
    """Draw the benchmark; writes what `draw_benchmark` does. ``trained`` is the output of `train_ms_diffusion`."""
    drawer = build_ms_diffusion(
        method, dialogs, foundations, conditioning.max_characters, pretrain, trained, drawing_device()
    )
    draw_benchmark(
        drawer,
        sampling=method.sampling,
        seeds=seeds,
        num_threads=num_threads,
        benchmark=benchmark,
        workspace=workspace,
        output=output,
    )


def build_ms_diffusion(
    method: MsDiffusionConfig,
    dialogs: Literal["none", "mask"],
    foundations: Foundations,
    max_subjects: int,
    pretrain: Path,
    trained: Path,
    device: torch.device,
) -> MsDiffusion:
    """The trained method on ``device``. Raises ValueError for weights that are missing or do not fit."""
    dtype = inference_dtype(device)
    generator = load_image_generator(foundations, pretrain, device)
    add_subjects(generator.unet, method.grounding.num_queries, max_subjects, dialogs)
    load_adapter(generator.unet, trained)
    place(generator.unet, device, dtype)
    grounding = load_saved(GroundingResampler, trained / GROUNDING)
    clip = load_clip_image_encoder(method.clip_image_encoder, dtype)
    place(clip.model, device)
    phrase = encode_phrase(generator.text_encoders[0], method.phrase)
    return MsDiffusion(generator, clip, place(grounding, device, dtype), phrase)
