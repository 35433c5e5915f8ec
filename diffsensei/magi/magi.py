"""Magi on pages: what it detects, and whole `MagiPage`s."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from transformers.image_processing_utils import BaseImageProcessor

from diffsensei.geometry import Boxes
from diffsensei.magi.associations import pair_scores
from diffsensei.magi.crops import CropEncoder, embed_crops
from diffsensei.magi.network import MagiNetwork
from diffsensei.magi.page import MagiPage, PairScores, assemble_page
from diffsensei.magi.reading_order import Reading
from diffsensei.magi.suppression import Selection, Thresholds, select_objects

Image8 = NDArray[np.uint8]
"""A page HxW grey or HxWx3."""

BATCH_SIZE = 4
"""Pages at once; the processor makes them 800 to 1333 pixels large."""


@dataclass(frozen=True)
class PageObjects:
    """All Q objects of one page, before any is dropped."""

    boxes: Boxes
    """(Q, 4) float64, xyxy in pixels, not clipped."""
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]
    """`network.CHARACTER`, `TEXT` or `PANEL`."""
    tokens: Tensor
    """(Q, D)."""
    character_pair: Tensor
    """(D,)."""
    text_character: Tensor
    """(D,)."""


class Magi(nn.Module):
    """The network and its two image processors."""

    def __init__(
        self, network: MagiNetwork, page_processor: BaseImageProcessor, crop_processor: BaseImageProcessor
    ) -> None:
        super().__init__()
        self.network = network
        self.page_processor = page_processor
        self.crop_processor = crop_processor

    @torch.inference_mode()
    def detect_objects(self, images: Sequence[Image8], batch_size: int = BATCH_SIZE) -> list[PageObjects]:
        """All objects of each page. Raises ValueError for images that are not uint8, HxW or HxWx3.

        Only pages of one size share a batch: next to a larger page a page would be padded, the convolutions see
        padding near its edges, and its boxes would depend on its neighbours.
        """
        pages = [grey_page(image) for image in images]
        by_size: dict[tuple[int, ...], list[int]] = {}
        for index, page in enumerate(pages):
            by_size.setdefault(page.shape, []).append(index)
        found: dict[int, PageObjects] = {}
        for indices in by_size.values():
            for start in range(0, len(indices), batch_size):
                batch = indices[start : start + batch_size]
                found.update(zip(batch, self._detect_batch([pages[index] for index in batch]), strict=True))
        return [found[index] for index in range(len(pages))]

    @torch.inference_mode()
    def read_pages(
        self,
        images: Sequence[Image8],
        *,
        thresholds: Thresholds | None = None,
        reading: Reading | None = None,
        folds: Sequence[float | None] | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> list[MagiPage]:
        """Panels, characters and texts of each page, with who is who and who says what.

        ``folds``: x in pixels where each double page folds, None for single pages. Raises ValueError as
        `detect_objects`, and for another number of folds than pages.
        """
        thresholds, reading = thresholds or Thresholds(), reading or Reading()
        folds = [None] * len(images) if folds is None else list(folds)
        if len(folds) != len(images):
            raise ValueError(f"expected one fold (or None) per page, got {len(folds)} for {len(images)} pages")
        objects = self.detect_objects(images, batch_size)
        selections = [select_objects(page.boxes, page.scores, page.labels, thresholds) for page in objects]
        crops = embed_crops(
            CropEncoder(self.network.crop_embedding_model, self.crop_processor),
            [grey_page(image) for image in images],
            [page.boxes[kept.characters] for page, kept in zip(objects, selections, strict=True)],
        )
        return [
            assemble_page(
                boxes=page.boxes,
                scores=page.scores,
                selection=kept,
                pairs=self._pairs(page, kept, embedded),
                size=(image.shape[0], image.shape[1]),
                thresholds=thresholds,
                reading=reading,
                fold=fold,
            )
            for page, kept, embedded, image, fold in zip(objects, selections, crops, images, folds, strict=True)
        ]

    def _detect_batch(self, pages: list[Image8]) -> list[PageObjects]:
        inputs = self.page_processor(images=pages, return_tensors="pt")
        weight = self.network.class_labels_classifier.weight
        tokens = self.network.encode_pages(
            inputs["pixel_values"].to(weight.device, weight.dtype), inputs["pixel_mask"].to(weight.device)
        )
        scores, labels = self.network.predict_classes(tokens.objects)
        height, width = pages[0].shape[:2]
        boxes = self.network.predict_boxes(tokens.objects, tokens.references).double().cpu().numpy()
        return [
            PageObjects(*row)
            for row in zip(
                boxes * np.array([width, height] * 2),
                scores.double().cpu().numpy(),
                labels.cpu().numpy(),
                tokens.objects,
                tokens.character_pair,
                tokens.text_character,
                strict=True,
            )
        ]

    def _pairs(self, page: PageObjects, kept: Selection, crops: Tensor) -> PairScores:
        characters, texts = page.tokens[kept.characters], page.tokens[kept.texts]
        same = self.network.predict_character_pairs(characters, crops, page.character_pair)
        said = self.network.predict_text_characters(texts, characters, page.text_character)
        return PairScores(
            characters=pair_scores(same.double().cpu().numpy()),
            texts=said.sigmoid().double().cpu().numpy(),
            dialogs=self.network.predict_dialogs(texts).sigmoid().double().cpu().numpy(),
        )


def grey_page(image: Image8) -> Image8:
    """``image`` without its colours, (H, W, 3): Magi learned from black-and-white pages."""
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ValueError(f"expected uint8 images HxW or HxWx3, got {image.dtype} {image.shape}")
    return np.asarray(Image.fromarray(image).convert("L").convert("RGB"))
