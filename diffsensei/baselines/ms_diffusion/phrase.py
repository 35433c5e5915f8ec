"""What all subjects are called, as the vector that queries are made of."""

import torch
from torch import Tensor

from diffsensei.models.text import TextEncoder


@torch.no_grad()
def encode_phrase(encoder: TextEncoder, phrase: str) -> Tensor:
    """(phrase_dim,) pooled output of SDXL's first text encoder (published code)."""
    ids = encoder.tokenizer([phrase], return_tensors="pt", truncation=True).input_ids
    pooled: Tensor = encoder.model(ids.to(encoder.model.device)).pooler_output[0]
    return pooled
