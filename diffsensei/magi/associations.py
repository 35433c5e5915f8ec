"""Who is who and who says what, from the scores of pairs (reference code)."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

Scores = NDArray[np.floating]


def pair_scores(logits: Scores) -> Scores:
    """Logits (C, C) of ordered pairs to symmetric scores (C, C) in (0, 1): the logits of both orders are averaged."""
    scores: Scores = expit((logits + logits.T) / 2)
    return scores


def cluster_characters(scores: Scores, threshold: float) -> NDArray[np.int64]:
    """Cluster (C,) of each character, numbered by first appearance.

    Characters are linked where their pair in ``scores`` (C, C) exceeds ``threshold``; clusters are what links connect.
    """
    if len(scores) == 0:
        return np.zeros(0, dtype=np.int64)
    linked = scores > threshold
    _, components = connected_components(csr_array(linked | linked.T), directed=False)
    _, first, labels = np.unique(components, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[labels]


def attribute_texts(scores: Scores, dialog_scores: Scores, threshold: float) -> NDArray[np.int64]:
    """Pairs (K, 2) of text and character: each text that is a dialog with its best character, by rising text.

    ``scores`` (T, C); a text is a dialog where its score (T,) exceeds ``threshold``. Of equal characters the first.
    """
    if scores.shape[1] == 0:
        return np.zeros((0, 2), dtype=np.int64)
    texts = np.flatnonzero(dialog_scores > threshold)
    return np.stack([texts, scores[texts].argmax(axis=1)], axis=1)
