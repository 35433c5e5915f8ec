"""MS-Diffusion as pipeline stages: training from the manga text-to-image model, and drawing the benchmark."""

from pathlib import Path
from typing import Literal, Unpack

import numpy as np
import torch

from diffsensei.baselines.ms_diffusion.grounding import GroundingResampler
from diffsensei.baselines.ms_diffusion.method import FROZEN, OWN_CROPS, RELEASED, TRAINED, MsDiffusion
from diffsensei.baselines.ms_diffusion.network import add_subjects, load_adapter, save_adapter, trains_sdxl
from diffsensei.baselines.ms_diffusion.objective import Constants, MsDiffusionObjective
from diffsensei.baselines.ms_diffusion.phrase import encode_phrase
from diffsensei.baselines.ms_diffusion.references import EncodedReferences, squashes, squashing
from diffsensei.config.baselines import DropConfig, GroundingConfig
from diffsensei.config.schema import (
    ConditioningConfig,
    Foundations,
    GeneratorStageConfig,
    SamplingConfig,
)
from diffsensei.devices import own_device
from diffsensei.foundations.loading import load_clip_image_encoder, load_text_encoder
from diffsensei.inference.generate import Drawing, draw_benchmark
from diffsensei.inference.speed import speed_up
from diffsensei.methods.assembly import inference_dtype, load_image_generator, place
from diffsensei.models.character_features import blank_clip_tokens
from diffsensei.models.unet import load_unet, save_unet
from diffsensei.models.weights import load_saved
from diffsensei.training.batch import ConditionedBatches
from diffsensei.training.feature_store import CharacterFeatures
from diffsensei.training.stage_run import Setting, StageRun, is_own
from diffsensei.training.trained_parameters import merge_lora, select_trained

Dialogs = Literal["none", "mask"]
GROUNDING, UNET = "grounding", "unet"


def train_ms_diffusion(
    *,
    stage: GeneratorStageConfig,
    dialogs: Dialogs,
    clip_image_encoder: str,
    phrase: str,
    grounding: GroundingConfig,
    drops: DropConfig,
    text_encoder: str,
    text_encoder_2: str,
    magi_image_encoder: str,
    conditioning: ConditioningConfig,
    vae: str,
    pretrain: Path,
    **setting: Unpack[Setting],
) -> None:
    """Train resampler, subject attention and what ``stage.trained`` names of the UNet; writes ``grounding/`` and, where
    that is more than was added, ``unet/``, else ``adapter.safetensors``.

    ``clip_image_encoder``, ``phrase``, ``grounding`` and ``drops`` are those of baselines.ms_diffusion. Of its two
    recipes, ``stage`` is ``training``, or ``dialogs_training`` where ``dialogs`` adds the dialog embedding of the
    paper's dagger. ``pretrain`` is the output of that stage, whose UNet is the base. The rest as for the stages of the
    paper (`training.stages`).
    """
    run = StageRun("ms_diffusion" if dialogs == "none" else "ms_diffusion_dialogs", stage, vae, **setting)
    training_panels = run.read_panels(conditioning.min_reference_side)
    text = run.text(training_panels, (text_encoder, text_encoder_2))
    clip = load_clip_image_encoder(clip_image_encoder, run.low_precision)
    place(clip.model, run.device)
    blank = blank_clip_tokens(clip).float().cpu()
    # Features of DiffSensei's stages will do where they were made of whole references.
    references: CharacterFeatures = (
        run.characters(clip_image_encoder, magi_image_encoder, "all")
        if squashes(clip)
        else EncodedReferences(squashing(clip), run.panel_set)
    )
    no_text_tokens, no_pooled_text = (tensor[0] for tensor in text(np.array([0])))
    constants = Constants(
        phrase=encode_phrase(load_text_encoder(text_encoder), phrase).float(),
        blank_clip_tokens=blank,
        no_text_tokens=no_text_tokens,
        no_pooled_text=no_pooled_text,
    )

    network = load_unet(pretrain / UNET)
    add_subjects(network, grounding.num_queries, conditioning.max_characters, dialogs)
    resampler = GroundingResampler(
        **grounding.model_dump(),
        clip_dim=blank.shape[-1],
        phrase_dim=len(constants.phrase),
        output_dim=network.config["cross_attention_dim"],
    )
    select_trained(network, stage)
    whole = trains_sdxl(network)
    run.recompute(unet=network)
    run.compile(unet=network)
    # References are cut from the panel itself, as the paper says of this method; drops are the method's own.
    own_crops = conditioning.replaced(
        self_condition_rate=1.0, character_drop_rate=0.0, caption_drop_rate=0.0, flip_rate=0.0
    )
    batches = ConditionedBatches(
        run.plan(), training_panels, run.moments, text, references, own_crops, with_targets=False
    )
    objective = MsDiffusionObjective(network, resampler, constants, drops, run.moments.scaling_factor)
    run.fit(objective, batches)
    if run.is_main:
        merge_lora(network)
        if whole:
            save_unet(network, run.output / UNET)
        else:
            save_adapter(network, run.output)
        resampler.save_pretrained(run.output / GROUNDING)


def generate_ms_diffusion(
    *,
    clip_image_encoder: str,
    phrase: str,
    dialogs: Dialogs,
    foundations: Foundations,
    conditioning: ConditioningConfig,
    sampling: SamplingConfig,
    pretrain: Path,
    trained: Path,
    **drawing: Unpack[Drawing],
) -> None:
    """Draw the benchmark; writes what `draw_benchmark` does. ``trained`` is the output of `train_ms_diffusion`."""
    drawer = build_ms_diffusion(
        clip_image_encoder,
        phrase,
        dialogs,
        foundations,
        conditioning.max_characters,
        pretrain,
        trained,
        own_device(),
    )
    speed_up(drawer, drawing["runtime"])
    draw_benchmark(drawer, sampling, **drawing)


def build_ms_diffusion(
    clip_image_encoder: str,
    phrase: str,
    dialogs: Dialogs,
    foundations: Foundations,
    max_subjects: int,
    pretrain: Path,
    trained: Path,
    device: torch.device,
) -> MsDiffusion:
    """The method on ``device``: the UNet of ``trained`` where its training changed it, else that of ``pretrain`` with
    what was added. Raises ValueError for weights that are missing or do not fit."""
    dtype = inference_dtype(device)
    grounding = load_saved(GroundingResampler, trained / GROUNDING)
    whole = (trained / UNET).is_dir()
    generator = load_image_generator(foundations, trained if whole else pretrain, device)
    if not whole:
        add_subjects(generator.unet, grounding.config["num_queries"], max_subjects, dialogs)
        load_adapter(generator.unet, trained)
        place(generator.unet, device, dtype)
    if (found := generator.unet.config["manga_conditions"]["dialogs"]) != dialogs:
        raise ValueError(f"{trained}: expected a UNet with dialogs {dialogs}, got {found}; give the other row's output")
    clip = squashing(load_clip_image_encoder(clip_image_encoder, dtype))
    place(clip.model, device)
    training = (TRAINED if whole else FROZEN, OWN_CROPS) if is_own(trained) else (RELEASED,)
    return MsDiffusion(
        generator,
        clip,
        place(grounding, device, dtype),
        encode_phrase(generator.text_encoders[0], phrase),
        deviations_of_training=training,
    )
