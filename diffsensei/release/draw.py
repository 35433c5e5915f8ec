"""The benchmark drawn by a bundle, as whoever downloads it would draw: nothing of the run that made it is needed."""

from pathlib import Path
from typing import Unpack

from diffsensei.config.schema import SamplingConfig
from diffsensei.inference.generate import Drawing, draw_benchmark
from diffsensei.release.bundle import load_bundled_pipeline
from diffsensei.release.manifest import check_manifest


def draw_bundle(*, sampling: SamplingConfig, bundle: Path, **drawing: Unpack[Drawing]) -> None:
    """Stage: `draw_benchmark` with the pipeline in ``bundle``.

    Raises ValueError for a bundle that is not as its manifest says, or a panel that it cannot draw.
    """
    check_manifest(bundle)
    draw_benchmark(load_bundled_pipeline(bundle).as_method(), sampling, **drawing)
