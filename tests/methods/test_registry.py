"""Names of methods."""

import pytest
import torch

from diffsensei.config.presets import tiny
from diffsensei.methods.registry import METHODS, build_method


def test_unknown_methods_and_missing_outputs_are_named() -> None:
    foundations, cpu = tiny().model.foundations, torch.device("cpu")
    with pytest.raises(ValueError, match="use one of sdxl_t2i, diffsensei_stage1, diffsensei"):
        build_method("stargan", foundations, {}, cpu)
    for name in METHODS:
        with pytest.raises(ValueError, match="run that stage first"):
            build_method(name, foundations, {}, cpu)
