"""Rotary positions of language models, which a conversion to bfloat16 must not touch."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

_FREQUENCIES = ("inv_freq", "original_inv_freq")


@contextmanager
def exact_rotary(network: nn.Module) -> Iterator[None]:
    """Within, ``network`` may be converted by ``to``: its rotary frequencies stay float32, as they are where a library
    loads it in bfloat16.

    Angles are positions times frequencies: those of a 13B Llama, rounded to bfloat16's 8 bits, are 0.6 radian off after
    500 tokens.
    """
    found = [module for module in network.modules() if isinstance(module, LlamaRotaryEmbedding)]
    before = [{name: getattr(module, name) for name in _FREQUENCIES} for module in found]
    try:
        yield
    finally:
        for module, frequencies in zip(found, before, strict=True):
            for name, exact in frequencies.items():
                setattr(module, name, exact.to(getattr(module, name).device, torch.float32))
