"""The one place where a method's name becomes a method."""

from collections.abc import Callable

import torch

from diffsensei.config.schema import Foundations
from diffsensei.methods.assembly import StageOutputs, build_diffsensei, build_diffsensei_stage1, build_sdxl_t2i
from diffsensei.methods.diffsensei import DiffSensei
from diffsensei.methods.sdxl_t2i import SdxlTextToImage

OwnMethod = SdxlTextToImage | DiffSensei

METHODS: dict[str, Callable[[Foundations, StageOutputs, torch.device], OwnMethod]] = {
    "sdxl_t2i": build_sdxl_t2i,
    "diffsensei_stage1": build_diffsensei_stage1,
    "diffsensei": build_diffsensei,
}
"""Name -> factory from frozen parts, outputs of the training stages, and a device."""


def build_method(name: str, foundations: Foundations, outputs: StageOutputs, device: torch.device) -> OwnMethod:
    """Raises ValueError for an unknown name."""
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; use one of {', '.join(METHODS)}")
    return METHODS[name](foundations, outputs, device)
