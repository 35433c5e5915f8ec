"""StoryDiffusion as a pipeline stage: there is nothing to train, so it only draws."""

from pathlib import Path
from typing import Unpack

from diffsensei.baselines.ddim import with_ddim
from diffsensei.baselines.storydiffusion.method import StoryDiffusion
from diffsensei.config.baselines import StoryDiffusionConfig
from diffsensei.config.schema import Foundations
from diffsensei.devices import own_device
from diffsensei.inference.generate import Drawing, draw_benchmark
from diffsensei.methods.assembly import load_image_generator


def generate_storydiffusion(
    *, method: StoryDiffusionConfig, foundations: Foundations, pretrain: Path, **drawing: Unpack[Drawing]
) -> None:
    """Draw the benchmark with the text-to-image model of stage ``pretrain``; writes what `draw_benchmark` does.

    ``method`` is baselines.storydiffusion, ``foundations`` model.foundations.
    """
    generator = with_ddim(load_image_generator(foundations, pretrain, own_device()))
    draw_benchmark(StoryDiffusion(generator, method.sharing), method.sampling, **drawing)
