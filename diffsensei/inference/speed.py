"""Drawing faster with the same result: compiled blocks, equal to rounding, and CUDA graphs, equal to the bit."""

from dataclasses import replace
from typing import Protocol

import torch

from diffsensei.config.schema import RuntimeConfig
from diffsensei.methods.image_generator import ImageGenerator
from diffsensei.methods.method import Method
from diffsensei.models.compilation import compile_blocks


class DrawnBySdxl(Method, Protocol):
    """A method whose UNet launches the same kernels at every step of a batch."""

    generator: ImageGenerator


def speed_up(method: DrawnBySdxl, runtime: RuntimeConfig) -> None:
    """Compile the repeated blocks of the method's UNet, and record its denoising steps, as ``runtime`` says.

    Raises ValueError without a C++ compiler or without a CUDA device respectively.
    """
    if runtime.cuda_graphs and not torch.cuda.is_available():
        raise ValueError("runtime.cuda_graphs: expected a CUDA device, found none; set runtime.cuda_graphs=false")
    if runtime.compile_drawing == "blocks":
        compile_blocks(method.generator.unet)
    method.generator = replace(method.generator, cuda_graphs=runtime.cuda_graphs)
