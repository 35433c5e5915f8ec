"""Identity accuracy: of the characters of its page, does the drawn one look most like the one that was asked for?

The drawn crop's DINO class token is compared with the references shown on the page, grouped by character; the nearest
reference's character is the answer. Measured where the page shows references of two characters or more; guessing gets
one over their number. Unlike DINO-C it does not reward what all characters of a series have in common.
"""

import numpy as np
from numpy.typing import NDArray

from diffsensei.evaluation.dino_similarity import cosine
from diffsensei.evaluation.results import MetricDefinition

IDENTITY = MetricDefinition(
    name="identity_accuracy",
    label="Identity accuracy",
    definition="share of drawn characters whose nearest reference on the page, by DINO class token, shows the one "
    "that was asked for",
    unit="share, 0 to 1",
    higher_is_better=True,
    source="ours",
    group="manga",
)
ONE_CHARACTER = "one character on the page"


def is_recognised(drawn: NDArray[np.floating], references: NDArray[np.floating], ids: list[str], wanted: str) -> float:
    """1.0 or 0.0 from a vector (d,), references (n, d) and their ids; NaN where a vector has no length."""
    near = cosine(np.broadcast_to(drawn, references.shape), references)
    if not np.all(np.isfinite(near)):
        return float("nan")
    return float(ids[int(near.argmax())] == wanted)
