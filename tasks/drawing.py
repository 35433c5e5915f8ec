"""A story drawn with a released (or any) bundle, in this process."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from diffsensei.config import ExperimentConfig
from diffsensei.config.schema import SamplingConfig
from tasks.publication import RELEASED, open_store, released_bundle

if TYPE_CHECKING:
    from diffsensei.inference.pipeline import DiffSenseiPipeline


def draw_story(config: ExperimentConfig, story: Path, checkpoint: str, output: Path) -> list[Path]:
    """The pages written into ``output``. ``checkpoint``: what `find_pipeline` takes.

    Raises ValueError for a checkpoint that is none, nothing released under the configuration's release name, or a
    story that cannot be drawn.
    """
    pipeline = find_pipeline(config, checkpoint)
    from diffsensei.inference.page import generate_story

    hide_loading_bars()
    return generate_story(
        story=story,
        pipeline=pipeline,
        sampling=config.sampling,
        panel_side=max(config.data.buckets.tiers),
        num_threads=config.runtime.num_threads,
        output=output,
        load=partial(load_pipeline, config.sampling),
    )


def find_pipeline(config: ExperimentConfig, checkpoint: str) -> Path:
    """A pipeline's folder: that in a bundle, itself, that in what is ``released`` here, or the original release's.

    Raises ValueError where there is none.
    """
    folder = released_bundle(open_store(), config.release) if checkpoint == RELEASED else Path(checkpoint)
    for place in (folder / "pipeline", folder):
        if (place / "model_index.json").is_file():
            return place
    from diffsensei.released.layout import is_released

    if not is_released(folder):
        raise ValueError(
            f"checkpoint: expected a bundle, a pipeline's folder, the original release's or `released`; {folder} holds "
            "no pipeline"
        )
    return folder


def load_pipeline(sampling: SamplingConfig, folder: Path) -> "DiffSenseiPipeline":
    """A saved pipeline, or the original release: on the device it will draw on, its MLLM only if there and wanted."""
    from diffsensei.inference.pipeline import DiffSenseiPipeline
    from diffsensei.released.layout import MLLM, is_released

    if not is_released(folder):
        return DiffSenseiPipeline.from_pretrained(folder)
    import torch

    from diffsensei.methods.assembly import inference_dtype
    from diffsensei.released.loading import load_released

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with_mllm = sampling.adapter_blend > 0.0 and (folder / MLLM).is_dir()
    return load_released(folder, with_mllm=with_mllm, dtype=inference_dtype(device), device=device)


def hide_loading_bars() -> None:
    """Only after the library was imported: it prepares what these two need."""
    from diffusers.utils.logging import disable_progress_bar as hide_in_diffusers
    from transformers.utils.logging import disable_progress_bar as hide_in_transformers

    hide_in_diffusers()
    hide_in_transformers()
