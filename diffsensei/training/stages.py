"""The training stages of the paper (sec. 5.1) as pipeline stages: from stored panels and features to saved weights.

Each function trains one stage with the same loop (`trainer`), resumes from its workspace, and writes its weights in the
formats inference loads, ``training.json``, and under ``logs/`` the metrics and TensorBoard events.

Arguments common to all: ``stage`` is training.<stage>, ``vae`` model.foundations.vae; ``text_encoder``,
``text_encoder_2``, ``clip_image_encoder``, ``magi_image_encoder`` are model.foundations.*, used only where the cache is
off; the rest is `Setting`.
"""

from pathlib import Path
from typing import Unpack

import numpy as np

from diffsensei.config.schema import (
    ConditioningConfig,
    FidelityConfig,
    GeneratorStageConfig,
    IdentityAdapterConfig,
    LayoutConfig,
    ResamplerConfig,
    TrainStageConfig,
    UNetConfig,
)
from diffsensei.foundations.loading import load_llm
from diffsensei.models.identity_adapter import IdentityAdapter
from diffsensei.models.resampler import Resampler
from diffsensei.models.unet import add_manga_conditions, load_unet, save_unet
from diffsensei.training.batch import CaptionedBatches, ConditionedBatches
from diffsensei.training.identity_adapter import IdentityAdapterObjective
from diffsensei.training.image_generator import ImageGeneratorObjective
from diffsensei.training.initial_weights import initial_unet, start_from_ip_adapter
from diffsensei.training.stage_run import Setting, StageRun
from diffsensei.training.t2i import TextToImageObjective
from diffsensei.training.trained_parameters import merge_lora, select_trained


def pretrain(
    *,
    stage: TrainStageConfig,
    unet: UNetConfig,
    unet_weights: str,
    text_encoder: str,
    text_encoder_2: str,
    caption_drop_rate: float,
    vae: str,
    **setting: Unpack[Setting],
) -> None:
    """Text-to-image pre-training of the whole UNet; writes ``unet/``.

    Further configuration: ``unet`` model.unet, ``unet_weights`` model.foundations.unet, ``caption_drop_rate``
    data.conditioning.caption_drop_rate.
    """
    run = StageRun("pretrain", stage, vae, **setting)
    training_panels = run.read_panels()
    text = run.text(training_panels, (text_encoder, text_encoder_2))
    tokens, pooled = text(np.array([0]))
    network = initial_unet(
        unet_weights,
        unet,
        in_channels=run.moments.latent_channels,
        cross_attention_dim=tokens.shape[-1],
        pooled_dim=pooled.shape[-1],
    )
    run.recompute(unet=network)
    run.compile(unet=network)
    batches = CaptionedBatches(run.plan(), training_panels, run.moments, text, caption_drop_rate)
    run.fit(TextToImageObjective(network, run.moments.scaling_factor), batches)
    if run.is_main:
        save_unet(network, run.output / "unet")


def stage1(
    *,
    stage: GeneratorStageConfig,
    layout: LayoutConfig,
    resampler: ResamplerConfig,
    ip_adapter: str,
    text_encoder: str,
    text_encoder_2: str,
    clip_image_encoder: str,
    magi_image_encoder: str,
    fidelity: FidelityConfig,
    conditioning: ConditioningConfig,
    vae: str,
    pretrain: Path,
    **setting: Unpack[Setting],
) -> None:
    """The image generator: UNet with character and dialog conditions, and resampler; writes ``unet/``, ``resampler/``.

    Further configuration: ``layout`` model.layout, ``resampler`` model.resampler, ``ip_adapter``
    model.foundations.ip_adapter, ``fidelity`` model.fidelity, ``conditioning`` data.conditioning. ``pretrain`` is the
    output of that stage.
    """
    run = StageRun("stage1", stage, vae, **setting)
    training_panels = run.read_panels(conditioning.min_reference_side, fidelity.boxes)
    text = run.text(training_panels, (text_encoder, text_encoder_2))
    characters = run.characters(clip_image_encoder, magi_image_encoder, fidelity.magi_patches)
    clip_tokens, magi_cls = characters(np.array([], np.int64), np.array([], np.bool_))
    network = load_unet(pretrain / "unet")
    add_manga_conditions(
        network,
        resampler.num_queries,
        max_characters=conditioning.max_characters,
        characters=layout.characters,
        dialogs=layout.dialogs,
        mask=fidelity.mask,
    )
    extractor = Resampler(
        **resampler.model_dump(),
        clip_dim=clip_tokens.shape[-1],
        magi_dim=magi_cls.shape[-1],
        output_dim=network.config["cross_attention_dim"],
        magi_patches=fidelity.magi_patches,
        empty_slots=fidelity.empty_slots,
    )
    start_from_ip_adapter(ip_adapter, network, extractor)
    select_trained(network, stage)
    run.recompute(unet=network)
    run.compile(unet=network)
    batches = ConditionedBatches(
        run.plan(), training_panels, run.moments, text, characters, conditioning, with_targets=False
    )
    run.fit(ImageGeneratorObjective(network, extractor, run.moments.scaling_factor), batches)
    if run.is_main:
        merge_lora(network)
        save_unet(network, run.output / "unet")
        extractor.save_pretrained(run.output / "resampler")


def stage2(
    *,
    stage: TrainStageConfig,
    adapter: IdentityAdapterConfig,
    llm: str,
    text_encoder: str,
    text_encoder_2: str,
    clip_image_encoder: str,
    magi_image_encoder: str,
    fidelity: FidelityConfig,
    conditioning: ConditioningConfig,
    vae: str,
    stage1: Path,
    **setting: Unpack[Setting],
) -> None:
    """The MLLM identity adapter on a frozen image generator; writes ``adapter/``.

    Further configuration: ``adapter`` model.adapter, ``llm`` model.foundations.llm, ``fidelity`` model.fidelity (as
    stage 1 had it), ``conditioning`` data.conditioning. ``stage1`` is the output of that stage.
    """
    run = StageRun("stage2", stage, vae, **setting)
    training_panels = run.read_panels(conditioning.min_reference_side, fidelity.boxes)
    text = run.text(training_panels, (text_encoder, text_encoder_2))
    characters = run.characters(clip_image_encoder, magi_image_encoder, fidelity.magi_patches)
    network = load_unet(stage1 / "unet").to(run.low_precision)  # type: ignore[arg-type]
    extractor = Resampler.from_pretrained(stage1 / "resampler").to(run.low_precision)
    language_model = load_llm(llm, dtype=run.low_precision)
    identity_adapter = IdentityAdapter(
        language_model.model,
        language_model.tokenizer,
        adapter,
        num_characters=conditioning.max_characters,
        num_queries=extractor.config["num_queries"],
        token_dim=network.config["cross_attention_dim"],
    )
    run.recompute(unet=network, llm=language_model.model)
    run.compile(unet=network)
    batches = ConditionedBatches(
        run.plan(), training_panels, run.moments, text, characters, conditioning, with_targets=True
    )
    objective = IdentityAdapterObjective(
        identity_adapter, network, extractor, adapter, run.moments.scaling_factor, run.runtime.prompt_row_tokens
    )
    run.fit(objective, batches)
    if run.is_main:
        identity_adapter.save_adapter(run.output / "adapter")
