"""Builds the bundle of a release: pipeline, model card, fixed sample, checksums."""

from pathlib import Path

import torch

from diffsensei.config.schema import ConditioningConfig, ModelConfig, ReleaseConfig, SamplingConfig
from diffsensei.devices import own_device
from diffsensei.inference.pipeline import DiffSenseiPipeline, build_pipeline
from diffsensei.progress import Progress
from diffsensei.release.manifest import write_manifest
from diffsensei.release.model_card import model_card
from diffsensei.release.sample import SAMPLE_ID, sample_edge, write_sample

STEPS = 4


def build_bundle(
    *,
    release: ReleaseConfig,
    model: ModelConfig,
    sampling: SamplingConfig,
    conditioning: ConditioningConfig,
    source_kind: str,
    stage1: Path,
    stage2: Path,
    score: Path,
    workspace: Path,
    output: Path,
) -> None:
    """Write ``pipeline/``, ``sample/``, ``README.md`` and, last, ``manifest.json``.

    The sample is drawn by the pipeline as read back from ``pipeline/``, so what is shipped is what was shown.
    Raises ValueError for weights that are missing or do not fit.
    """
    progress = Progress(workspace / "progress.json", "Building the bundle", STEPS, "parts")
    build_pipeline(model.foundations, stage1, stage2, torch.device("cpu")).save_pretrained(output / "pipeline")
    progress.advance()
    pipeline = load_bundled_pipeline(output)
    (output / "sample").mkdir()
    request = write_sample(output / "sample", sample_edge(pipeline), sampling)
    (image,) = pipeline([request], output / "sample", sampling)
    image.save(output / "sample" / f"{SAMPLE_ID}.png")
    progress.advance()
    card = model_card(
        release=release,
        model=model,
        sampling=sampling,
        conditioning=conditioning,
        source_kind=source_kind,
        score=score,
    )
    (output / "README.md").write_text(card, encoding="utf-8")
    progress.advance()
    write_manifest(output, release.name, release.version)
    progress.advance()


def load_bundled_pipeline(bundle: Path) -> DiffSenseiPipeline:
    """The pipeline of a bundle, in float32, on the GPU where there is one."""
    pipeline = DiffSenseiPipeline.from_pretrained(bundle / "pipeline")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(own_device())
