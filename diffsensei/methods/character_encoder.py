"""Reference images of a batch of panels to character tokens (paper sec. 4.1)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffsensei.models.character_features import ImageEncoder, encode_characters
from diffsensei.models.resampler import Resampler


@dataclass(frozen=True, eq=False)
class CharacterEncoder:
    """CLIP, Magi and the resampler behind them."""

    clip: ImageEncoder
    magi: ImageEncoder
    resampler: Resampler

    @property
    def num_queries(self) -> int:
        """Tokens per character, and background tokens."""
        return self.resampler.config["num_queries"]

    @torch.no_grad()
    def tokens(self, references: Sequence[Sequence[NDArray[np.uint8]]], num_slots: int) -> Tensor:
        """Grey references (H, W) of each panel to (B, D + N*Q, C) with N = ``num_slots``, background tokens first.

        Slots without a character are 0, as in training; or, where the resampler's configuration asks for it, what the
        resampler makes of zero features, as in the reference code's inference. Without any reference it is what the
        negative branch of guidance sees: in training, a panel whose characters were all dropped.
        """
        slots = [(row, slot) for row, images in enumerate(references) for slot in range(len(images))]
        clip_tokens, magi_cls = encode_characters(
            self.clip, self.magi, [image for images in references for image in images]
        )
        device = self.resampler.device
        clip_tokens, magi_cls = clip_tokens.to(device), magi_cls.to(device)
        exists = torch.zeros(len(references), num_slots, dtype=torch.bool, device=device)
        all_clip = clip_tokens.new_zeros(*exists.shape, *clip_tokens.shape[1:])
        all_magi = magi_cls.new_zeros(*exists.shape, *magi_cls.shape[1:])
        for index, (row, slot) in enumerate(slots):
            exists[row, slot] = True
            all_clip[row, slot], all_magi[row, slot] = clip_tokens[index], magi_cls[index]
        if self.resampler.config["empty_slots"] == "resampled":
            exists = torch.ones_like(exists)
        return self.resampler(all_clip, all_magi, exists)
