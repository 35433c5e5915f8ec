"""CMMD: squared maximum mean discrepancy of CLIP image embeddings with a Gaussian kernel (Jayasumana et al. 2024).

k(x, y) = exp(-|x - y|^2 / (2 s^2)) with s = 10 on embeddings of length 1, times 1000. Here the unbiased U-statistic,
where the authors' code keeps the diagonal: of small sets theirs is never below 0 and grows as sets shrink. They use
CLIP ViT-L/14 at 336 pixels; the figure belongs to whichever CLIP is configured. No Gaussian is fitted, and it settles
with fewer panels than FID.
"""

import numpy as np
from numpy.typing import NDArray

from diffsensei.evaluation.fid import Features
from diffsensei.evaluation.results import MetricDefinition
from diffsensei.evaluation.unbiased_mmd import Kernels, mmd

WIDTH = 10.0
SCALE = 1000.0
CMMD = MetricDefinition(
    name="cmmd",
    label="CMMD",
    definition="1000 times the unbiased squared MMD with a Gaussian kernel of width 10 between unit CLIP embeddings "
    "of generated and true panels",
    unit="1000 x squared MMD",
    higher_is_better=False,
    source="Jayasumana et al. 2024; U-statistic instead of their biased estimate",
    group="distribution",
)


def gaussian_kernels(generated: Features, true: Features) -> Kernels:
    """The three matrices of the kernel, times `SCALE`, between embeddings (n, d) and (m, d) of any length."""
    x, y = (v / np.linalg.norm(v.astype(np.float64), axis=1, keepdims=True) for v in (generated, true))

    def kernel(a: Features, b: Features) -> NDArray[np.float64]:
        # |a - b|^2 = 2 - 2 a.b for unit vectors.
        return np.asarray(SCALE * np.exp(-(2 - 2 * a @ b.T) / (2 * WIDTH**2)))

    return Kernels(kernel(x, x), kernel(y, y), kernel(x, y))


def clip_distance(generated: Features, true: Features) -> float:
    """CMMD between embeddings (n, d) and (m, d), at least two rows each; may be slightly negative."""
    return mmd(gaussian_kernels(generated, true))
