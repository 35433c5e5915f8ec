"""A story drawn with a released (or any) bundle, in this process."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from diffsensei.config import ExperimentConfig
from tasks.publication import RELEASED, open_store, released_bundle

if TYPE_CHECKING:
    from diffsensei.inference import DrawingOptions


def draw_story(
    config: ExperimentConfig,
    story: Path,
    checkpoint: str,
    output: Path,
    options: "DrawingOptions",
    report: Callable[[str], None],
) -> list[Path]:
    """The pages written to ``output``. ``checkpoint``: a bundle's or pipeline's folder, or ``released``.

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
    )


def serve_studio(config: ExperimentConfig, checkpoint: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve the studio with ``checkpoint`` on this machine until interrupted; ``announce`` gets the address.

    Raises ValueError as `draw_story`, or for a port that is taken.
    """
    pipeline = find_pipeline(config, checkpoint)
    import torch

    from diffsensei.inference import DiffSenseiPipeline
    from diffsensei.studio.exchange import Drawer
    from diffsensei.studio.server import serve

    hide_loading_bars()
    torch.set_num_threads(config.runtime.num_threads)
    loaded = DiffSenseiPipeline.from_pretrained(pipeline)
    if torch.cuda.is_available():
        loaded.to("cuda")
    serve(Drawer(loaded, config.sampling, panel_side(config)), port, announce)


def find_pipeline(config: ExperimentConfig, checkpoint: str) -> Path:
    """The pipeline's folder in a bundle, itself, or in what is ``released``. Raises ValueError where there is none."""
    folder = released_bundle(open_store(), config.release) if checkpoint == RELEASED else Path(checkpoint)
    pipeline = next((place for place in (folder / "pipeline", folder) if (place / "model_index.json").is_file()), None)
    if pipeline is None:
        raise ValueError(
            f"checkpoint: expected a bundle, a pipeline's folder or `released`; {folder} holds no pipeline"
        )
    return pipeline


def panel_side(config: ExperimentConfig) -> int:
    """Edge in pixels of the square whose area panels are drawn with: the largest the model was trained for."""
    return max(config.data.buckets.tiers)


def hide_loading_bars() -> None:
    """Only after the library was imported: it prepares what these two need."""
    from diffusers.utils.logging import disable_progress_bar as hide_in_diffusers
    from transformers.utils.logging import disable_progress_bar as hide_in_transformers

    hide_in_diffusers()
    hide_in_transformers()
