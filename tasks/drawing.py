"""A story drawn with a released (or any) bundle, in this process."""

from pathlib import Path

from diffsensei.config import ExperimentConfig
from tasks.publication import RELEASED, open_store, released_bundle


def draw_story(config: ExperimentConfig, story: Path, checkpoint: str, output: Path) -> list[Path]:
    """The pages written into ``output``. ``checkpoint``: a bundle's or pipeline's folder, or ``released``.

    Raises ValueError for a checkpoint that is none, nothing released under the configuration's release name, or a
    story that cannot be drawn.
    """
    folder = released_bundle(open_store(), config.release) if checkpoint == RELEASED else Path(checkpoint)
    pipeline = next((place for place in (folder / "pipeline", folder) if (place / "model_index.json").is_file()), None)
    if pipeline is None:
        raise ValueError(
            f"checkpoint: expected a bundle, a pipeline's folder or `released`; {folder} holds no pipeline"
        )
    from diffsensei.inference.page import generate_story

    _hide_loading_bars()
    return generate_story(
        story=story,
        pipeline=pipeline,
        sampling=config.sampling,
        panel_side=max(config.data.buckets.tiers),
        num_threads=config.runtime.num_threads,
        output=output,
    )


def _hide_loading_bars() -> None:
    """Only after the library was imported: it prepares what these two need."""
    from diffusers.utils.logging import disable_progress_bar as hide_in_diffusers
    from transformers.utils.logging import disable_progress_bar as hide_in_transformers

    hide_in_diffusers()
    hide_in_transformers()
