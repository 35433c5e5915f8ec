"""torch.compile for the blocks that the UNet repeats: their kernels are fused, the network and its weights stay.

Blocks are compiled and not the whole network: a graph of one block serves all its repetitions, so that the first step
waits minutes less, and hooks and masks of the conditions stay ordinary Python between the blocks.
"""

from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

BLOCKS = (BasicTransformerBlock, ResnetBlock2D)
MAX_GRAPHS = 64
"""Graphs kept per kind of block; past that a block runs uncompiled, as past 8 by PyTorch's own limit. Inductor makes
graphs anew for each size of panels here, whatever ``dynamic`` says, so this serves runs with few sizes."""


def compile_blocks(unet: nn.Module) -> None:
    """Compile the repeated blocks of ``unet`` in place, each when it is first called; parameter names stay.

    Raises ValueError on a machine without a C++ compiler.
    """
    _require_compiler()
    for module in unet.modules():
        if isinstance(module, BLOCKS):
            module.compile(dynamic=True, recompile_limit=MAX_GRAPHS)


def _require_compiler() -> None:
    # Here and not above: Inductor takes seconds to import, for what most runs do not use.
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise ValueError(
            "compiled blocks: expected a C++ compiler, found none; install g++, or set runtime.compile and "
            "runtime.compile_drawing to none"
        ) from error
