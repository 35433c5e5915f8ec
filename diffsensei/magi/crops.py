"""Characters cut out of pages, and Magi's embedding of them (reference code)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel
from transformers.image_processing_utils import BaseImageProcessor

from diffsensei.geometry import Boxes
from diffsensei.models.character_features import encode_with_magi

MIN_SIDE = 10
"""Pixels; anything smaller is grown to it, as far as the page goes."""

BATCH_SIZE = 256


@dataclass(frozen=True)
class CropEncoder:
    """Magi's crop encoder with its image processor."""

    model: PreTrainedModel
    processor: BaseImageProcessor


def crop_bounds(boxes: Boxes, height: int, width: int) -> NDArray[np.int64]:
    """``boxes`` (n, 4) in pixels as half-open integer bounds (n, 4) inside a page.

    Truncated, clipped to the page and grown to `MIN_SIDE`: to the right and down where the page has room.
    """
    size = np.array([width, height])
    corners = np.clip(np.asarray(boxes).reshape(-1, 2, 2).astype(np.int64), 0, size)
    low, high = corners.min(axis=1), corners.max(axis=1)
    high = np.minimum(np.maximum(high, low + MIN_SIDE), size)
    low = np.maximum(np.minimum(low, high - MIN_SIDE), 0)
    return np.concatenate([low, high], axis=1)


@torch.inference_mode()
def embed_crops(
    encoder: CropEncoder, pages: Sequence[NDArray[np.uint8]], boxes: Sequence[Boxes], batch_size: int = BATCH_SIZE
) -> list[Tensor]:
    """Embeddings (C, H) of the characters of each page (h, w, 3), given their boxes (C, 4) in pixels.

    Crops of all pages share batches; each is resized to the encoder's size, so its neighbours do not matter.
    """
    crops = [
        Image.fromarray(page[top:bottom, left:right])
        for page, page_boxes in zip(pages, boxes, strict=True)
        for left, top, right, bottom in crop_bounds(page_boxes, *page.shape[:2])
    ]
    batches = [
        encode_with_magi(encoder, crops[start : start + batch_size]) for start in range(0, len(crops), batch_size)
    ]
    width = encoder.model.config.hidden_size
    embeddings = torch.cat(batches) if batches else torch.zeros(0, width, device=encoder.model.device)
    return list(embeddings.split([len(page_boxes) for page_boxes in boxes]))
