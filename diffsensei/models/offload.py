"""Models that wait on the CPU until they are needed (diffusers' ``enable_model_cpu_offload``)."""

from typing import TypeVar

from torch import nn

Model = TypeVar("Model", bound=nn.Module)


def on_its_device(model: Model) -> Model:
    """``model`` itself, brought to its device first if accelerate keeps it elsewhere.

    Its own forward would do that; this is for code that reads its device or calls one of its parts beforehand.
    """
    hook = getattr(model, "_hf_hook", None)
    if hook is not None:
        hook.pre_forward(model)
    return model
