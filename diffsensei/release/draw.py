"""The benchmark drawn by a bundle, as whoever downloads it would draw: nothing of the run that made it is needed."""

from pathlib import Path

import torch

from diffsensei.config.schema import SamplingConfig
from diffsensei.inference.generate import draw_benchmark
from diffsensei.release.bundle import load_bundled_pipeline
from diffsensei.release.manifest import check_manifest


def draw_bundle(
    *,
    sampling: SamplingConfig,
    seeds: tuple[int, ...],
    num_threads: int,
    bundle: Path,
    benchmark: Path,
    workspace: Path,
    output: Path,
) -> None:
    """Stage: `draw_benchmark` with the pipeline in ``bundle``.

    Raises ValueError for a bundle that is not as its manifest says, or a panel that it cannot draw.
    """
    torch.set_num_threads(num_threads)
    check_manifest(bundle)
    draw_benchmark(
        load_bundled_pipeline(bundle).as_method(),
        sampling=sampling,
        seeds=seeds,
        num_threads=num_threads,
        benchmark=benchmark,
        workspace=workspace,
        output=output,
    )
