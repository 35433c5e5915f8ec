"""A ResNet stored under timm's names, as transformers' own ResNet.

Detection transformers were long published over timm's backbones. The arithmetic is the same (stride in the 3x3
convolution, frozen batch norm), only the names differ; renaming them saves the dependency on timm.
"""

import re

from torch import Tensor
from transformers import ResNetConfig

RESNETS: dict[str, tuple[str, list[int]]] = {
    "resnet18": ("basic", [2, 2, 2, 2]),
    "resnet34": ("basic", [3, 4, 6, 3]),
    "resnet50": ("bottleneck", [3, 4, 6, 3]),
    "resnet101": ("bottleneck", [3, 4, 23, 3]),
}
"""timm's name to the kind of layer and how many of them each stage has."""

_WIDTHS = {"basic": [64, 128, 256, 512], "bottleneck": [256, 512, 1024, 2048]}
_BLOCK = re.compile(r"layer(\d)\.(\d+)\.(conv|bn|downsample\.)(\d)\.(\w+)")
_STEM = {"conv": "convolution", "bn": "normalization"}


def resnet_config(name: str) -> ResNetConfig:
    """The configuration of the ResNet timm calls ``name``. Raises ValueError for one that is not in `RESNETS`."""
    if name not in RESNETS:
        raise ValueError(f"expected a backbone of {', '.join(RESNETS)}, got {name!r}")
    layer_type, depths = RESNETS[name]
    return ResNetConfig(embedding_size=64, hidden_sizes=_WIDTHS[layer_type], depths=depths, layer_type=layer_type)


def rename_timm_resnet(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """``state`` with the names below ``prefix`` changed to transformers'; names timm does not have stay as they are."""
    return {
        prefix + _renamed(key.removeprefix(prefix)) if key.startswith(prefix) else key: value
        for key, value in state.items()
    }


def _renamed(key: str) -> str:
    stem = re.fullmatch(r"(conv|bn)1\.(\w+)", key)
    if stem:
        return f"embedder.embedder.{_STEM[stem[1]]}.{stem[2]}"
    block = _BLOCK.fullmatch(key)
    if block is None:
        return key
    stage, layer, kind, number, leaf = block.groups()
    place = f"encoder.stages.{int(stage) - 1}.layers.{layer}"
    if kind == "downsample.":
        return f"{place}.shortcut.{'convolution' if number == '0' else 'normalization'}.{leaf}"
    return f"{place}.layer.{int(number) - 1}.{_STEM[kind]}.{leaf}"
