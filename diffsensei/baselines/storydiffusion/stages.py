"""StoryDiffusion as a pipeline stage: there is nothing to train, so it only draws."""

from pathlib import Path

from diffsensei.baselines.ddim import with_ddim
from diffsensei.baselines.storydiffusion.method import StoryDiffusion
from diffsensei.config.baselines import StoryDiffusionConfig
from diffsensei.config.schema import Foundations, RuntimeConfig
from diffsensei.devices import own_device
from diffsensei.inference.generate import draw_benchmark
from diffsensei.methods.assembly import load_image_generator


def generate_storydiffusion(
    *,
    method: StoryDiffusionConfig,
    foundations: Foundations,
    seeds: tuple[int, ...],
    runtime: RuntimeConfig,
    benchmark: Path,
    pretrain: Path,
    workspace: Path,
    output: Path,
) -> None:
    """Draw the benchmark with the text-to-image model of stage ``pretrain``; writes what `draw_benchmark` does.

    ``method`` is baselines.storydiffusion, ``foundations`` model.foundations.
    """
    generator = with_ddim(load_image_generator(foundations, pretrain, own_device()))
    draw_benchmark(
        StoryDiffusion(generator, method.sharing),
        sampling=method.sampling,
        seeds=seeds,
        num_threads=runtime.num_threads,
        benchmark=benchmark,
        workspace=workspace,
        output=output,
    )
