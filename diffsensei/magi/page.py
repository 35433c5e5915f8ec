"""What Magi found on a page, put together from scores alone: no network here."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffsensei.geometry import Boxes
from diffsensei.magi.associations import attribute_texts, cluster_characters
from diffsensei.magi.reading_order import Reading, order_panels, order_texts
from diffsensei.magi.suppression import Selection, Thresholds

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class MagiPage:
    """Boxes float64 (n, 4) xyxy in pixels inside the page; scores (n,) in (0, 1). P panels, C characters, T texts."""

    panels: Boxes
    """In reading order."""
    panel_scores: Scores
    characters: Boxes
    """By falling score."""
    character_scores: Scores
    character_clusters: NDArray[np.int64]
    """(C,): characters of one number are one person. 0 is that of the surest character, and so on."""
    texts: Boxes
    """In reading order."""
    text_scores: Scores
    dialog_scores: Scores
    """(T,): how surely each text is a dialog."""
    text_characters: NDArray[np.int64]
    """(K, 2): index of a text and of the character that says it; each text at most once, by rising text."""


@dataclass(frozen=True)
class PairScores:
    """Scores in (0, 1) of what was selected, in the selection's order."""

    characters: NDArray[np.floating]
    """(C, C), symmetric: the same person."""
    texts: NDArray[np.floating]
    """(T, C): the text is said by the character."""
    dialogs: NDArray[np.floating]
    """(T,): the text is a dialog."""


def assemble_page(
    *,
    boxes: Boxes,
    scores: NDArray[np.floating],
    selection: Selection,
    pairs: PairScores,
    size: tuple[int, int],
    thresholds: Thresholds,
    reading: Reading,
    fold: float | None = None,
) -> MagiPage:
    """The page of all objects' ``boxes`` (Q, 4) in pixels and ``scores`` (Q,), given which to keep and their pairs.

    ``size``: height and width in pixels. Boxes are clipped to the page only after the order is known, because the
    rules for keeping and ordering are about what was predicted.
    """
    height, width = size
    boxes, surely = np.asarray(boxes, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    panels = selection.panels[order_panels(boxes[selection.panels], reading, fold)]
    order = order_texts(boxes[selection.texts], boxes[panels], reading)
    texts = selection.texts[order]

    def clipped(indices: NDArray[np.intp]) -> Boxes:
        return np.clip(boxes[indices], 0, [width, height] * 2)

    return MagiPage(
        panels=clipped(panels),
        panel_scores=surely[panels],
        characters=clipped(selection.characters),
        character_scores=surely[selection.characters],
        character_clusters=cluster_characters(pairs.characters, thresholds.same_character),
        texts=clipped(texts),
        text_scores=surely[texts],
        dialog_scores=np.asarray(pairs.dialogs, dtype=np.float64)[order],
        text_characters=attribute_texts(pairs.texts[order], pairs.dialogs[order], thresholds.dialog),
    )
