"""A story drawn with a released (or any) bundle, in this process."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from diffsensei.config import ExperimentConfig
from diffsensei.config.schema import SamplingConfig
from tasks.publication import open_store
from tasks.releases import CHANNELS, bundle_of

if TYPE_CHECKING:
    from diffsensei.inference import DiffSenseiPipeline, DrawingOptions


def draw_story(
    config: ExperimentConfig,
    story: Path,
    checkpoint: str,
    output: Path,
    options: "DrawingOptions",
    report: Callable[[str], None],
) -> list[Path]:
    """The pages written to ``output``. ``checkpoint``: what `find_pipeline` takes.

    Raises ValueError for a checkpoint that is none, nothing released under the configuration's release name, or a
    story that cannot be drawn.
    """
    pipeline = find_pipeline(config, checkpoint)
    from diffsensei.inference import generate_story

    hide_loading_bars()
    return generate_story(
        story=story,
        pipeline=pipeline,
        sampling=config.sampling,
        panel_side=panel_side(config),
        num_threads=config.runtime.num_threads,
        output=output,
        options=options,
        report=report,
        load=partial(load_pipeline, config.sampling),
    )


def serve_studio(config: ExperimentConfig, checkpoint: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve the studio with ``checkpoint`` on this machine until interrupted; ``announce`` gets the address.

    Raises ValueError as `draw_story`, or for a port that is taken.
    """
    pipeline = find_pipeline(config, checkpoint)
    import torch

    from diffsensei.studio.exchange import Drawer
    from diffsensei.studio.server import serve

    hide_loading_bars()
    torch.set_num_threads(config.runtime.num_threads)
    loaded = load_pipeline(config.sampling, pipeline)
    serve(Drawer(loaded, config.sampling, panel_side(config)), port, announce)


def find_pipeline(config: ExperimentConfig, checkpoint: str) -> Path:
    """A pipeline's folder: in a bundle, itself, in what is ``released`` (``approved``, ``candidate``) here, or the
    original release's.

    Raises ValueError where there is none.
    """
    here = checkpoint in CHANNELS
    folder = bundle_of(open_store(), checkpoint, config.release.name).path if here else Path(checkpoint)
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
    from diffsensei.devices import own_device
    from diffsensei.inference.pipeline import DiffSenseiPipeline
    from diffsensei.methods.assembly import inference_dtype
    from diffsensei.released.layout import MLLM, is_released
    from diffsensei.released.loading import load_released

    device = own_device()
    if not is_released(folder):
        return DiffSenseiPipeline.from_pretrained(folder).to(device)
    with_mllm = sampling.adapter_blend > 0.0 and (folder / MLLM).is_dir()
    return load_released(folder, with_mllm=with_mllm, dtype=inference_dtype(device), device=device)


def panel_side(config: ExperimentConfig) -> int:
    """Edge in pixels of the square whose area panels are drawn with: the largest the model was trained for."""
    return max(config.data.buckets.tiers)


def hide_loading_bars() -> None:
    """Only after the library was imported: it prepares what these two need."""
    from diffusers.utils.logging import disable_progress_bar as hide_in_diffusers
    from transformers.utils.logging import disable_progress_bar as hide_in_transformers

    hide_in_diffusers()
    hide_in_transformers()
