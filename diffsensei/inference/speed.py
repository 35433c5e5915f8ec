"""Drawing faster with the same result: compiled blocks, equal to rounding, and CUDA graphs, equal to the bit."""

from dataclasses import replace
from typing import Literal, Protocol

import torch

from diffsensei.methods.image_generator import ImageGenerator
from diffsensei.methods.method import Method
from diffsensei.models.compilation import compile_blocks

Compilation = Literal["none", "blocks"]


class DrawnBySdxl(Method, Protocol):
    """A method whose UNet launches the same kernels at every step of a batch."""

    generator: ImageGenerator


def speed_up(method: DrawnBySdxl, compilation: Compilation, *, cuda_graphs: bool) -> None:
    """Compile the repeated ``blocks`` of the method's UNet, or ``none``; record denoising steps with ``cuda_graphs``.

    Raises ValueError without a C++ compiler or without a CUDA device respectively.
    """
    if cuda_graphs and not torch.cuda.is_available():
        raise ValueError("runtime.cuda_graphs: expected a CUDA device, found none; set runtime.cuda_graphs=false")
    if compilation == "blocks":
        compile_blocks(method.generator.unet)
    method.generator = replace(method.generator, cuda_graphs=cuda_graphs)
