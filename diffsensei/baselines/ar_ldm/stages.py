"""AR-LDM as pipeline stages: one training end to end, and drawing the benchmark."""

from pathlib import Path
from typing import Unpack

import torch

from diffsensei.baselines.ar_ldm.blip import load_grounded_captions, read_grounded_captions
from diffsensei.baselines.ar_ldm.history import HistoryEncoder
from diffsensei.baselines.ar_ldm.method import ArLdm
from diffsensei.baselines.ar_ldm.objective import ArLdmObjective
from diffsensei.baselines.ddim import ddim
from diffsensei.baselines.stable_diffusion import load_sd_unet, read_sd_unet
from diffsensei.config.baselines import ArLdmConfig, BlipConfig, StableDiffusionParts
from diffsensei.config.schema import TrainStageConfig
from diffsensei.devices import own_device
from diffsensei.foundations.loading import load_text_encoder, load_vae
from diffsensei.inference.generate import Drawing, draw_benchmark
from diffsensei.methods.assembly import inference_dtype, place
from diffsensei.methods.painter import Painter
from diffsensei.models.unet import save_unet
from diffsensei.training.stage_run import Setting, StageRun
from diffsensei.training.story_batch import StoryBatches


def train_ar_ldm(
    *,
    stage: TrainStageConfig,
    blip: BlipConfig,
    window: int,
    caption_length: int,
    drop_rate: float,
    base: StableDiffusionParts,
    **setting: Unpack[Setting],
) -> None:
    """Train everything but the autoencoder; writes ``unet/`` and what `HistoryEncoder.save` does.

    ``stage`` is ``training`` of baselines.ar_ldm, whose ``blip``, ``window``, ``caption_length`` and ``drop_rate`` the
    others are; ``features`` are those of the method's own autoencoder. The rest as for the stages of the paper
    (`training.stages`).
    """
    run = StageRun("ar_ldm", stage, base.vae, **setting)
    text = load_text_encoder(base.text_encoder)
    width = text.model.config.hidden_size
    encoder = HistoryEncoder(text, load_grounded_captions(blip, width, text.tokenizer), caption_length)
    unet = load_sd_unet(base.unet, width)
    run.recompute(unet=unet)
    batches = StoryBatches(
        run.plan(),
        run.panel_set,
        run.read_panels(),
        run.moments,
        window=window,
        side=blip.image_side,
        max_dialogs=0,
    )
    run.fit(ArLdmObjective(unet, encoder, drop_rate, run.moments.scaling_factor), batches)
    if run.is_main:
        save_unet(unet, run.output / "unet")
        encoder.save(run.output)


def generate_ar_ldm(
    *, method: ArLdmConfig, base: StableDiffusionParts, trained: Path, **drawing: Unpack[Drawing]
) -> None:
    """Draw the benchmark; writes what `draw_benchmark` does. ``trained`` is the output of `train_ar_ldm`."""
    draw_benchmark(build_ar_ldm(method, base, trained, own_device()), method.sampling, **drawing)


def build_ar_ldm(method: ArLdmConfig, base: StableDiffusionParts, trained: Path, device: torch.device) -> ArLdm:
    """The trained method on ``device``. Raises ValueError for weights that are missing or do not fit."""
    dtype = inference_dtype(device)
    pairs = read_grounded_captions(trained / "blip")
    encoder = HistoryEncoder(load_text_encoder(str(trained / "text_encoder")), pairs, method.caption_length)
    encoder.read_tables(trained)
    unet = place(read_sd_unet(trained / "unet"), device, dtype)
    painter = Painter(place(load_vae(base.vae), device), unet, ddim())
    return ArLdm(painter, place(encoder, device), method)
