"""Copy-paste: is a drawn character nearer to the very picture that was shown than to its other pictures?

cos(drawn crop, shown reference) minus the mean cosine of the drawn crop with the true crops of the same character in
the page's other panels, the shown one's panel left out; DINO class tokens. 0 means the character was drawn as itself;
above 0, that the reference was copied (pose and all), which is what the paper's MLLM adapter is to prevent. Measured
where the character has another picture on the page. The idea is ViStoryBench's copy-paste rate, which compares a
softmax share instead of a difference.
"""

import numpy as np
from numpy.typing import NDArray

from diffsensei.evaluation.dino_similarity import cosine
from diffsensei.evaluation.results import MetricDefinition

COPY_PASTE = MetricDefinition(
    name="copy_paste",
    label="Copy-paste",
    definition="cosine of the drawn crop with the shown reference, minus its mean cosine with the character's other "
    "true crops on the page, mean over characters",
    unit="difference of cosines, -2 to 2",
    higher_is_better=False,
    source="after ViStoryBench's copy-paste rate",
    group="manga",
)
NO_OTHER_PICTURE = "no other picture of the character on its page"


def copy_paste_score(drawn: NDArray[np.floating], shown: NDArray[np.floating], others: NDArray[np.floating]) -> float:
    """From vectors (d,), (d,) and (n, d) with n >= 1; NaN where a vector has no length."""
    near = cosine(np.broadcast_to(drawn, others.shape), others)
    return float(cosine(drawn[None], shown[None])[0] - near.mean())
