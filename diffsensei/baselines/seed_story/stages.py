"""SEED-Story as pipeline stages: the language model, then the de-tokenizer on what it tells, then the benchmark."""

from pathlib import Path
from typing import Unpack

import torch

from diffsensei.baselines.seed_story.detokenizer import FeatureResampler
from diffsensei.baselines.seed_story.language import StoryLanguage
from diffsensei.baselines.seed_story.method import NO_FIRST_STAGE, OTHER_LLAMA, Captions, SeedStory
from diffsensei.baselines.seed_story.objectives import DetokenizerObjective, StoryLanguageObjective
from diffsensei.baselines.seed_story.resamplers import StoryResamplers
from diffsensei.baselines.seed_story.visual import VisualEncoder, load_visual
from diffsensei.config.baselines import FeatureResamplerConfig, SeedStoryConfig, SeedStoryLanguageConfig
from diffsensei.config.schema import Foundations, TrainStageConfig
from diffsensei.devices import own_device
from diffsensei.foundations.loading import load_llm, load_text_encoder
from diffsensei.inference.generate import Drawing, draw_benchmark
from diffsensei.methods.assembly import inference_dtype, load_image_generator, place
from diffsensei.models.text import text_widths
from diffsensei.models.unet import load_unet, save_unet
from diffsensei.models.weights import load_saved
from diffsensei.training.stage_run import Setting, StageRun, is_own
from diffsensei.training.story_batch import StoryBatches

LLM, RESAMPLERS, RESAMPLER = "llm", "resamplers", "resampler"


def train_seed_story_language(
    *,
    stage: TrainStageConfig,
    visual_encoder: str,
    llm: str,
    language: SeedStoryLanguageConfig,
    window: int,
    vae: str,
    **setting: Unpack[Setting],
) -> None:
    """The language model; writes ``llm/`` (LoRA folded in) and ``resamplers/``.

    ``stage`` is ``language_training`` of baselines.seed_story; ``visual_encoder``, ``llm``, ``language`` and ``window``
    are fields of the same. The rest as for the stages of the paper (`training.stages`).
    """
    run = StageRun("seed_story_language", stage, vae, **setting)
    visual = load_visual(visual_encoder, run.low_precision, run.device)
    loaded = load_llm(llm, dtype=run.low_precision)
    resamplers = StoryResamplers(
        num_slots=language.num_slots,
        num_features=visual.num_tokens,
        feature_dim=visual.dim,
        llm_dim=loaded.model.config.hidden_size,
        heads=language.resampler_heads,
    )
    teller = StoryLanguage(loaded.model, loaded.tokenizer, resamplers, language.max_caption_tokens)
    teller.train_with_lora(language)
    run.recompute(llm=teller.base)
    run.fit(StoryLanguageObjective(teller, visual), _batches(run, window, visual))
    if run.is_main:
        teller.merged_llm().save_pretrained(run.output / LLM)
        loaded.tokenizer.save_pretrained(run.output / LLM)
        resamplers.save_pretrained(run.output / RESAMPLERS)


def train_seed_story(
    *,
    stage: TrainStageConfig,
    visual_encoder: str,
    max_caption_tokens: int,
    resampler: FeatureResamplerConfig,
    window: int,
    drop_rate: float,
    text_encoder: str,
    text_encoder_2: str,
    vae: str,
    pretrain: Path,
    language: Path,
    **setting: Unpack[Setting],
) -> None:
    """The de-tokenizer, on what the language model of stage ``language`` tells; writes ``unet/`` and ``resampler/``.

    ``stage`` is ``detokenizer_training`` of baselines.seed_story, ``max_caption_tokens`` that of its ``language``; the
    other fields of the same have their names. ``pretrain`` is the output of that stage: the UNet begins as the manga
    text-to-image model. The rest as for the stages of the paper.
    """
    run = StageRun("seed_story", stage, vae, **setting)
    visual = load_visual(visual_encoder, run.low_precision, run.device)
    teller = place(read_language(language, max_caption_tokens), run.device, run.low_precision)
    unet = load_unet(pretrain / "unet")
    encoders = [load_text_encoder(reference) for reference in (text_encoder, text_encoder_2)]
    first_dim = encoders[0].model.config.hidden_size
    width, pooled_dim = text_widths(encoders)
    feature_resampler = FeatureResampler(
        **resampler.model_dump(),
        feature_dim=visual.dim,
        first_dim=first_dim,
        second_dim=width - first_dim,
        pooled_dim=pooled_dim,
    )
    run.recompute(unet=unet)
    objective = DetokenizerObjective(teller, visual, unet, feature_resampler, drop_rate, run.moments.scaling_factor)
    run.fit(objective, _batches(run, window, visual))
    if run.is_main:
        save_unet(unet, run.output / "unet")
        feature_resampler.save_pretrained(run.output / RESAMPLER)


def generate_seed_story(
    *,
    method: SeedStoryConfig,
    captions: Captions,
    foundations: Foundations,
    language: Path,
    trained: Path,
    **drawing: Unpack[Drawing],
) -> None:
    """Draw the benchmark; writes what `draw_benchmark` does. ``captions`` says whose they are."""
    draw_benchmark(
        build_seed_story(method, captions, foundations, language, trained, own_device()), method.sampling, **drawing
    )


def build_seed_story(
    method: SeedStoryConfig,
    captions: Captions,
    foundations: Foundations,
    language: Path,
    trained: Path,
    device: torch.device,
) -> SeedStory:
    """The trained method on ``device``. Raises ValueError for weights that are missing or do not fit."""
    dtype = inference_dtype(device)
    resampler = load_saved(FeatureResampler, trained / RESAMPLER)
    return SeedStory(
        place(read_language(language, method.language.max_caption_tokens), device, dtype),
        load_visual(method.visual_encoder, dtype, device),
        place(resampler, device, dtype),
        load_image_generator(foundations, trained, device),
        captions=captions,
        window=method.window,
        max_written_tokens=method.language.max_written_tokens,
        deviations_of_training=(OTHER_LLAMA, NO_FIRST_STAGE) if is_own(trained) else (),
    )


def read_language(folder: Path, max_caption_tokens: int) -> StoryLanguage:
    """What `train_seed_story_language` wrote. Raises ValueError where anything is missing or left over."""
    if not (folder / RESAMPLERS / "config.json").is_file():
        raise ValueError(f"expected SEED-Story's language model in {folder}, found none; run its stage first")
    loaded = load_llm(str(folder / LLM))
    resamplers = load_saved(StoryResamplers, folder / RESAMPLERS)
    language = StoryLanguage(loaded.model, loaded.tokenizer, resamplers, max_caption_tokens)
    return language.eval().requires_grad_(False)


def _batches(run: StageRun, window: int, visual: VisualEncoder) -> StoryBatches:
    return StoryBatches(
        run.plan(),
        run.panel_set,
        run.read_panels(),
        run.moments,
        window=window,
        side=visual.side,
        max_dialogs=0,
        own_images=True,
    )
