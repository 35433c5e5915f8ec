"""Captions to SDXL's text conditions (SDXL report sec. 2.1): two CLIP encoders side by side."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase


class TextEncoder(Protocol):
    """A CLIP text model and its tokenizer."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase: ...

    @property
    def model(self) -> PreTrainedModel: ...


def encode_text(encoders: Sequence[TextEncoder], captions: list[str]) -> tuple[Tensor, Tensor]:
    """Captions to tokens (B, T, C) and a pooled vector (B, P), on the encoders' device.

    Tokens are the penultimate hidden states of all encoders, concatenated over channels; the pooled vector is the
    projection of the last encoder. Captions are cut and padded to the tokenizers' length (77 for SDXL).
    """
    hidden, pooled = [], None
    for encoder in encoders:
        ids = encoder.tokenizer(
            captions,
            padding="max_length",
            max_length=encoder.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        with torch.no_grad():
            output = encoder.model(ids.to(encoder.model.device), output_hidden_states=True)
        hidden.append(output.hidden_states[-2])
        pooled = output.get("text_embeds")
    assert pooled is not None, "SDXL's last text encoder has a projection"
    return torch.cat(hidden, dim=-1), pooled


def text_widths(encoders: Sequence[TextEncoder]) -> tuple[int, int]:
    """(C, P): cross-attention width and pooled width that `encode_text` gives with these encoders."""
    configs = [encoder.model.config for encoder in encoders]
    return sum(config.hidden_size for config in configs), configs[-1].projection_dim
