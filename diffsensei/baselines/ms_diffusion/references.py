"""References as MS-Diffusion sees them: squashed to the encoder's square, nothing of them cropped (published code)."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffsensei.data.panels.panel_set import PanelSet
from diffsensei.foundations.loading import ImageEncoder
from diffsensei.models.character_features import clip_tokens_of
from diffsensei.training.feature_store import crop_images


def squashes(encoder: ImageEncoder) -> bool:
    """Whether the encoder's own processor shows it whole images."""
    processor: Any = encoder.processor
    return not processor.do_center_crop and processor.size.shortest_edge is None


def squashing(encoder: ImageEncoder) -> ImageEncoder:
    """``encoder`` behind a processor that squashes images to the size that its own would crop them to."""
    if squashes(encoder):
        return encoder
    processor: Any = encoder.processor
    side = encoder.model.config.image_size
    changes = {"do_center_crop": False, "size": {"height": side, "width": side}}
    return ImageEncoder(encoder.model, type(processor).from_dict(processor.to_dict() | changes))


class EncodedReferences:
    """`CharacterFeatures` of CLIP alone, computed when asked for: Magi's vectors are empty."""

    def __init__(self, clip: ImageEncoder, panel_set: PanelSet) -> None:
        self._clip, self._panel_set = clip, panel_set

    @torch.no_grad()
    def __call__(self, crops: NDArray[np.int64], mirrored: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
        """CLIP tokens (K, S, clip_dim) and (K, 0), float32."""
        tokens = clip_tokens_of(self._clip, crop_images(self._panel_set, 2 * crops + mirrored)).float()
        return tokens, tokens.new_zeros(len(tokens), 0)
