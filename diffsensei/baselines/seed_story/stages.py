"""SEED-Story as pipeline stages: the language model, then the de-tokenizer on what it tells, then the benchmark."""

from pathlib import Path

import torch

from diffsensei.baselines.seed_story.detokenizer import FeatureResampler
from diffsensei.baselines.seed_story.language import StoryLanguage
from diffsensei.baselines.seed_story.method import Captions, SeedStory
from diffsensei.baselines.seed_story.objectives import DetokenizerObjective, StoryLanguageObjective
from diffsensei.baselines.seed_story.resamplers import StoryResamplers
from diffsensei.baselines.seed_story.visual import VisualEncoder, load_visual
from diffsensei.config.baselines import SeedStoryConfig
from diffsensei.config.schema import BucketConfig, Foundations
from diffsensei.foundations.loading import load_llm, load_text_encoder
from diffsensei.inference.generate import draw_benchmark, drawing_device
from diffsensei.methods.assembly import inference_dtype, load_image_generator, place
from diffsensei.models.text import text_widths
from diffsensei.models.unet import load_unet, save_unet
from diffsensei.models.weights import load_saved
from diffsensei.training.stage_run import Precision, StageRun
from diffsensei.training.story_batch import StoryBatches

LLM, RESAMPLERS, RESAMPLER = "llm", "resamplers", "resampler"


def train_seed_story_language(
    *,
    method: SeedStoryConfig,
    seed: int,
    num_processes: int,
    mixed_precision: Precision,
    num_threads: int,
    buckets: BucketConfig,
    vae: str,
    log_every_steps: int,
    panels: Path,
    features: Path,
    workspace: Path,
    output: Path,
) -> None:
    """The language model; writes ``llm/`` (LoRA folded in) and ``resamplers/``. ``method`` is baselines.seed_story."""
    run = StageRun(
        "seed_story_language",
        method.language_training,
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
    visual = load_visual(method.visual_encoder, run.low_precision, run.device)
    loaded = load_llm(method.llm)
    resamplers = StoryResamplers(
        num_slots=method.language.num_slots,
        num_features=visual.num_tokens,
        feature_dim=visual.dim,
        llm_dim=loaded.model.config.hidden_size,
        heads=method.language.resampler_heads,
    )
    language = StoryLanguage(loaded.model, loaded.tokenizer, resamplers, method.language.max_caption_tokens)
    language.train_with_lora(method.language)
    run.fit(StoryLanguageObjective(language, visual), _batches(run, method, visual), log_every_steps)
    if run.is_main:
        language.merged_llm().save_pretrained(output / LLM)
        loaded.tokenizer.save_pretrained(output / LLM)
        resamplers.save_pretrained(output / RESAMPLERS)


def train_seed_story(
    *,
    method: SeedStoryConfig,
    text_encoder: str,
    text_encoder_2: str,
    seed: int,
    num_processes: int,
    mixed_precision: Precision,
    num_threads: int,
    buckets: BucketConfig,
    vae: str,
    log_every_steps: int,
    panels: Path,
    features: Path,
    pretrain: Path,
    language: Path,
    workspace: Path,
    output: Path,
) -> None:
    """The de-tokenizer, on what the language model of stage ``language`` tells; writes ``unet/`` and ``resampler/``.

    ``pretrain`` is the output of that stage: the UNet begins as the manga text-to-image model.
    """
    run = StageRun(
        "seed_story",
        method.detokenizer_training,
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
    visual = load_visual(method.visual_encoder, run.low_precision, run.device)
    teller = read_language(method, language)
    unet = load_unet(pretrain / "unet")
    encoders = [load_text_encoder(reference) for reference in (text_encoder, text_encoder_2)]
    first_dim = encoders[0].model.config.hidden_size
    width, pooled_dim = text_widths(encoders)
    resampler = FeatureResampler(
        **method.resampler.model_dump(),
        feature_dim=visual.dim,
        first_dim=first_dim,
        second_dim=width - first_dim,
        pooled_dim=pooled_dim,
    )
    objective = DetokenizerObjective(teller, visual, unet, resampler, method.drop_rate, run.moments.scaling_factor)
    run.fit(objective, _batches(run, method, visual), log_every_steps)
    if run.is_main:
        save_unet(unet, output / "unet")
        resampler.save_pretrained(output / RESAMPLER)


def generate_seed_story(
    *,
    method: SeedStoryConfig,
    captions: Captions,
    foundations: Foundations,
    seeds: tuple[int, ...],
    num_threads: int,
    benchmark: Path,
    language: Path,
    trained: Path,
    workspace: Path,
    output: Path,
) -> None:
    """Draw the benchmark; writes what `draw_benchmark` does. ``captions`` says whose they are."""
    draw_benchmark(
        build_seed_story(method, captions, foundations, language, trained, drawing_device()),
        sampling=method.sampling,
        seeds=seeds,
        num_threads=num_threads,
        benchmark=benchmark,
        workspace=workspace,
        output=output,
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
        place(read_language(method, language), device, dtype),
        load_visual(method.visual_encoder, dtype, device),
        place(resampler, device, dtype),
        load_image_generator(foundations, trained, device),
        captions=captions,
        window=method.window,
        max_written_tokens=method.language.max_written_tokens,
    )


def read_language(method: SeedStoryConfig, folder: Path) -> StoryLanguage:
    """What `train_seed_story_language` wrote. Raises ValueError where anything is missing or left over."""
    if not (folder / RESAMPLERS / "config.json").is_file():
        raise ValueError(f"expected SEED-Story's language model in {folder}, found none; run its stage first")
    loaded = load_llm(str(folder / LLM))
    resamplers = load_saved(StoryResamplers, folder / RESAMPLERS)
    language = StoryLanguage(loaded.model, loaded.tokenizer, resamplers, method.language.max_caption_tokens)
    return language.eval().requires_grad_(False)


def _batches(run: StageRun, method: SeedStoryConfig, visual: VisualEncoder) -> StoryBatches:
    return StoryBatches(
        run.plan(),
        run.panel_set,
        run.read_panels(),
        run.moments,
        window=method.window,
        side=visual.side,
        max_dialogs=0,
        own_images=True,
    )
