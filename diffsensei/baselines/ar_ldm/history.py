"""What the UNet reads: the caption, and every earlier image with its caption (AR-LDM eq. 4-6).

ctx = [c + a_0 ; m_0 + a_1 + tau_0 ; ... ; m_{K-1} + a_1 + tau_{K-1}], with c the caption's tokens, m_k the grounded
tokens of earlier pair k, a the table of types and tau that of places. Padding and absent pairs are hidden from the
UNet's cross-attention.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from diffsensei.baselines.ar_ldm.blip import GroundedCaptions
from diffsensei.models.text import TextEncoder

TABLES = "tables.safetensors"
CAPTION_TYPE, PAIR_TYPE = 0, 1
NUM_PLACES = 5
"""Places of a window: the table is that of five panels, of which at most four are earlier ones."""
TABLE_STD = 0.02


@dataclass(frozen=True, eq=False)
class History:
    """Up to K earlier pairs of B panels: images (B, K, S, S) uint8 squashed, captions, and which exist (B, K)."""

    images: Tensor
    captions: Sequence[Sequence[str]]
    exists: Tensor


class HistoryEncoder(nn.Module):
    """Caption and history to the UNet's context; everything in it is trained."""

    def __init__(self, text_encoder: TextEncoder, pairs: GroundedCaptions, caption_length: int) -> None:
        """``caption_length``: tokens of a grounded caption; longer ones are cut."""
        super().__init__()
        self.text_model, self.pairs = text_encoder.model, pairs
        self.tokenizer, self._caption_length = text_encoder.tokenizer, caption_length
        width = text_encoder.model.config.hidden_size
        self.types, self.places = nn.Embedding(2, width), nn.Embedding(NUM_PLACES, width)
        for table in (self.types, self.places):
            nn.init.normal_(table.weight, std=TABLE_STD)

    def forward(self, captions: Sequence[str], history: History, nothing: Tensor) -> tuple[Tensor, Tensor]:
        """Context (B, T + K*P, C), and what the UNet may see of it (B, T + K*P) bool.

        Panels with ``nothing`` (B,) True are told neither caption nor history: empty captions, black images, and no
        padding hidden; but pairs that do not exist stay hidden.
        """
        told = ["" if blank else caption for blank, caption in zip(nothing.tolist(), captions, strict=True)]
        tokenized = self.tokenizer(
            told,
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        device = history.images.device
        ids, mask = tokenized.input_ids.to(device), tokenized.attention_mask.to(device)
        # The padding mask goes into the text encoder too, unlike in plain Stable Diffusion.
        caption = self.text_model(ids, attention_mask=mask).last_hidden_state + self.types.weight[CAPTION_TYPE]
        blank = nothing.to(device)
        visible = mask.bool() | blank.unsqueeze(1)
        if not history.exists.shape[1]:
            return caption, visible

        batch, count = history.exists.shape
        texts = [
            row[place] if place < len(row) and not blank_row else ""
            for row, blank_row in zip(history.captions, nothing.tolist(), strict=True)
            for place in range(count)
        ]
        images = history.images * ~blank[:, None, None, None]
        pairs, unpadded = self.pairs(images.flatten(0, 1), texts, self._caption_length)
        pairs = pairs.unflatten(0, (batch, count)) + self.types.weight[PAIR_TYPE]
        pairs = pairs + self.places.weight[:count, None]
        seen = unpadded.unflatten(0, (batch, count)) | blank[:, None, None]
        seen = seen & history.exists.unsqueeze(-1)
        return torch.cat([caption, pairs.flatten(1, 2)], dim=1), torch.cat([visible, seen.flatten(1)], dim=1)

    def save(self, folder: Path) -> None:
        """Write ``text_encoder/``, ``tokenizer/``, ``blip/`` and ``tables.safetensors``."""
        self.text_model.save_pretrained(folder / "text_encoder")
        self.tokenizer.save_pretrained(folder / "tokenizer")
        self.pairs.save(folder / "blip")
        save_file({"types": self.types.weight.detach(), "places": self.places.weight.detach()}, folder / TABLES)

    def read_tables(self, folder: Path) -> None:
        """Copy the tables that `save` wrote. Raises ValueError where they are missing or of another shape."""
        path = folder / TABLES
        if not path.is_file():
            raise ValueError(f"expected {TABLES} in {folder}, found none; give the output of the AR-LDM stage")
        stored = load_file(path)
        own = {"types": self.types.weight, "places": self.places.weight}
        if {name: tuple(t.shape) for name, t in stored.items()} != {name: tuple(t.shape) for name, t in own.items()}:
            raise ValueError(f"{path} holds tables of another shape than this model's")
        for name, weight in own.items():
            weight.data.copy_(stored[name])
