"""StoryGen as pipeline stages: single panels, then panels after others, then drawing the benchmark."""

from pathlib import Path
from typing import Unpack

import torch

from diffsensei.baselines.ddim import ddim
from diffsensei.baselines.stable_diffusion import load_sd_unet, read_sd_unet, train_only
from diffsensei.baselines.storygen.context import add_context
from diffsensei.baselines.storygen.method import StoryGen
from diffsensei.baselines.storygen.objective import StoryGenObjective
from diffsensei.baselines.storygen.pixels import read_pixel_range
from diffsensei.config.baselines import StableDiffusionParts, StoryGenConfig, StoryGenDrops
from diffsensei.config.schema import TrainStageConfig
from diffsensei.devices import own_device
from diffsensei.foundations.loading import load_text_encoder, load_vae
from diffsensei.inference.generate import Drawing, draw_benchmark
from diffsensei.methods.assembly import inference_dtype, place
from diffsensei.methods.painter import Painter
from diffsensei.models.unet import save_unet
from diffsensei.training.stage_run import Setting, StageRun
from diffsensei.training.story_batch import StoryBatches

SELF_ATTENTION, CONTEXT_ATTENTION = ".attn1.", ".attn3."
NO_EARLIER_PANELS = 0


def train_storygen_single(
    *,
    stage: TrainStageConfig,
    drops: StoryGenDrops,
    mask_dialogs: bool,
    base: StableDiffusionParts,
    max_dialogs: int,
    **setting: Unpack[Setting],
) -> None:
    """First stage: the self-attention learns single panels; writes ``unet/``.

    ``stage`` is ``single`` of baselines.storygen, whose ``drops`` and ``mask_dialogs`` the others are; ``features`` are
    those of the method's own autoencoder. The rest as for the stages of the paper (`training.stages`).
    """
    run = StageRun("storygen_single", stage, base.vae, **setting)
    text = load_text_encoder(base.text_encoder)
    unet = load_sd_unet(base.unet, text.model.config.hidden_size)
    # Copies for the context are taken before anything is trained, as in the published code.
    add_context(unet)
    train_only(unet, SELF_ATTENTION)
    objective = StoryGenObjective(unet, text, drops, run.moments.scaling_factor, mask_dialogs=mask_dialogs)
    run.recompute(unet=unet)
    run.fit(objective, _batches(run, NO_EARLIER_PANELS, 1, max_dialogs))
    if run.is_main:
        save_unet(unet, run.output / "unet")


def train_storygen(
    *,
    stage: TrainStageConfig,
    window: int,
    context_side: int,
    drops: StoryGenDrops,
    mask_dialogs: bool,
    base: StableDiffusionParts,
    max_dialogs: int,
    single: Path,
    **setting: Unpack[Setting],
) -> None:
    """Second stage: the attention to earlier panels; writes ``unet/``. ``single`` is the first stage's output.

    ``stage`` is ``context`` of baselines.storygen; the rest as for the first stage.
    """
    run = StageRun("storygen", stage, base.vae, **setting)
    text = load_text_encoder(base.text_encoder)
    unet = read_sd_unet(single / "unet", add_context)
    train_only(unet, CONTEXT_ATTENTION)
    objective = StoryGenObjective(
        unet,
        text,
        drops,
        run.moments.scaling_factor,
        mask_dialogs=mask_dialogs,
        vae=load_vae(base.vae),
    )
    run.recompute(unet=unet)
    run.fit(objective, _batches(run, window, context_side, max_dialogs))
    if run.is_main:
        save_unet(unet, run.output / "unet")


def generate_storygen(
    *, method: StoryGenConfig, base: StableDiffusionParts, trained: Path, **drawing: Unpack[Drawing]
) -> None:
    """Draw the benchmark; writes what `draw_benchmark` does. ``trained`` is the output of `train_storygen`."""
    draw_benchmark(build_storygen(method, base, trained, own_device()), method.sampling, **drawing)


def build_storygen(method: StoryGenConfig, base: StableDiffusionParts, trained: Path, device: torch.device) -> StoryGen:
    """The trained method on ``device``. Raises ValueError for weights that are missing or do not fit."""
    dtype = inference_dtype(device)
    text = load_text_encoder(base.text_encoder, dtype)
    place(text.model, device)
    unet = place(read_sd_unet(trained / "unet", add_context), device, dtype)
    return StoryGen(Painter(place(load_vae(base.vae), device), unet, ddim()), text, method, read_pixel_range(trained))


def _batches(run: StageRun, window: int, side: int, max_dialogs: int) -> StoryBatches:
    return StoryBatches(
        run.plan(), run.panel_set, run.read_panels(), run.moments, window=window, side=side, max_dialogs=max_dialogs
    )
