"""Magi's network: a Conditional DETR whose queries are objects and five more, heads on its tokens, a crop encoder.

Attribute names are the prefixes of the reference checkpoint. B pages, Q objects, D the width of the detector, H that
of the crop encoder.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import ConditionalDetrModel, ViTMAEModel

CHARACTER, TEXT, PANEL = 0, 1, 2
"""Labels of the classifier."""

NUM_EXTRA_QUERIES = 5
_PAIR_TOKEN, _TEXT_TOKEN = -5, -4
"""Queries that stand for relations: character to character, text to character. The last three serve later versions."""

_EPS = 1e-5


@dataclass(frozen=True)
class PageTokens:
    """What the detector says of pages."""

    objects: Tensor
    """(B, Q, D)."""
    character_pair: Tensor
    """(B, D)."""
    text_character: Tensor
    """(B, D)."""
    references: Tensor
    """(B, Q, 2), the x and y in (0, 1) that the boxes are relative to."""


class PredictionHead(nn.Module):
    """Three linear layers with ReLU between."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(inputs, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, outputs)])

    def forward(self, *parts: Tensor) -> Tensor:
        """The head of ``parts`` concatenated over the last axis, their other axes broadcast: (..., outputs).

        The first layer is applied to each part before they are broadcast: of all pairs of objects only the hidden
        layer is ever held, not the features, which are an order of magnitude wider.
        """
        first = self.layers[0]
        assert isinstance(first, nn.Linear)
        pieces = first.weight.split([part.shape[-1] for part in parts], dim=1)
        hidden: Tensor = first.bias
        for part, piece in zip(parts, pieces, strict=True):
            hidden = hidden + functional.linear(part, piece)
        output: Tensor = self.layers[2](functional.relu(self.layers[1](functional.relu(hidden))))
        return output


class MagiNetwork(nn.Module):
    """Magi v1 without its reader of text. Raises ValueError for a detector without queries to spare."""

    def __init__(self, detection_transformer: ConditionalDetrModel, crop_embedding_model: ViTMAEModel) -> None:
        super().__init__()
        config = detection_transformer.config
        width, crop_width = config.d_model, crop_embedding_model.config.hidden_size
        if config.num_queries <= NUM_EXTRA_QUERIES:
            raise ValueError(f"expected more than {NUM_EXTRA_QUERIES} queries, got num_queries {config.num_queries}")
        self.detection_transformer = detection_transformer
        self.crop_embedding_model = crop_embedding_model
        self.class_labels_classifier = nn.Linear(width, len(config.id2label or {}))
        self.bbox_predictor = PredictionHead(width, width, 4)
        self.character_character_matching_head = PredictionHead(3 * width + 2 * crop_width, width, 1)
        self.text_character_matching_head = PredictionHead(3 * width, width, 1)
        self.is_this_text_a_dialogue = PredictionHead(width, width, 1)

    def encode_pages(self, pixel_values: Tensor, pixel_mask: Tensor) -> PageTokens:
        """Normalised pixels (B, 3, h, w); mask (B, h, w), 1 where there is page and 0 where there is padding."""
        output = self.detection_transformer(pixel_values=pixel_values, pixel_mask=pixel_mask)
        tokens = output.last_hidden_state
        return PageTokens(
            objects=tokens[:, :-NUM_EXTRA_QUERIES],
            character_pair=tokens[:, _PAIR_TOKEN],
            text_character=tokens[:, _TEXT_TOKEN],
            # The library gives reference points queries first.
            references=output.reference_points.transpose(0, 1)[:, :-NUM_EXTRA_QUERIES],
        )

    def predict_classes(self, objects: Tensor) -> tuple[Tensor, Tensor]:
        """Objects (..., D) to scores in (0, 1) and labels, both (...). There is no class for "no object"."""
        logits, labels = self.class_labels_classifier(objects).max(-1)
        return logits.sigmoid(), labels

    def predict_boxes(self, objects: Tensor, references: Tensor) -> Tensor:
        """Objects (..., D) and their references (..., 2) to boxes (..., 4), xyxy relative to the page, not clipped."""
        shift = functional.pad(torch.logit(references, eps=_EPS), (0, 2))
        centre, size = (self.bbox_predictor(objects) + shift).sigmoid().split(2, dim=-1)
        return torch.cat([centre - size / 2, centre + size / 2], dim=-1)

    def predict_character_pairs(self, objects: Tensor, crops: Tensor, pair_token: Tensor) -> Tensor:
        """Characters (C, D), their crops (C, H) and the page's token (D,) to logits (C, C) of being the same person.

        Row and column are not interchangeable.
        """
        rows, columns = (objects[:, None], crops[:, None]), (objects[None], crops[None])
        return self.character_character_matching_head(*rows, *columns, pair_token).squeeze(-1)

    def predict_text_characters(self, texts: Tensor, characters: Tensor, text_token: Tensor) -> Tensor:
        """Texts (T, D), characters (C, D) and the page's token (D,) to logits (T, C) of the character saying it."""
        return self.text_character_matching_head(texts[:, None], characters[None], text_token).squeeze(-1)

    def predict_dialogs(self, texts: Tensor) -> Tensor:
        """Texts (T, D) to logits (T,) of being dialog rather than a sound or a sign."""
        return self.is_this_text_a_dialogue(texts).squeeze(-1)
