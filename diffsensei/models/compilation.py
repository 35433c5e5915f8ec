"""torch.compile for the transformer blocks that the UNet repeats: their kernels are fused, network and weights stay.

Blocks are compiled and not the whole network: a graph of one block serves all its repetitions, so that the first step
waits minutes less, and hooks and masks of the conditions stay ordinary Python between the blocks.

Not the convolutional blocks: their backward pass is compiled for the strides that Inductor chose for what their forward
pass kept, which are numbers and not symbols, so that they would be compiled anew for each size of panels.
"""

from diffusers.models.attention import BasicTransformerBlock
from torch import nn


def compile_blocks(unet: nn.Module) -> None:
    """Compile the transformer blocks of ``unet`` in place, each when it is first called; parameter names stay.

    Sizes of panels are symbols in their graphs, which serve all of them.

    Raises ValueError on a machine without a C++ compiler.
    """
    _require_compiler()
    for module in unet.modules():
        if isinstance(module, BasicTransformerBlock):
            module.compile(dynamic=True)


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
