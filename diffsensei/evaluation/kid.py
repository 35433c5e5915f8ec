"""KID: unbiased squared maximum mean discrepancy with the kernel (x.y / d + 1)^3 (Binkowski et al. 2018).

Unlike FID its expectation does not depend on the number of panels. The full U-statistic: clean-fid draws subsets of up
to 1000 without replacement, which at fewer panels than that are all the same subset.
"""

import numpy as np
from numpy.typing import NDArray

from diffsensei.evaluation.fid import Features
from diffsensei.evaluation.results import MetricDefinition
from diffsensei.evaluation.unbiased_mmd import Kernels, mmd

KID = MetricDefinition(
    name="kid",
    label="KID",
    definition="unbiased squared MMD with kernel (x.y/d + 1)^3 between features of generated and true panels",
    unit="squared MMD",
    higher_is_better=False,
    source="Binkowski et al. 2018",
)


def cubic_kernels(generated: Features, true: Features) -> Kernels:
    """The three matrices of (x.y / d + 1)^3 between feature sets (n, d) and (m, d)."""

    def kernel(a: Features, b: Features) -> NDArray[np.float64]:
        return np.asarray((a.astype(np.float64) @ b.astype(np.float64).T / a.shape[1] + 1) ** 3)

    return Kernels(kernel(generated, generated), kernel(true, true), kernel(generated, true))


def kernel_distance(generated: Features, true: Features) -> float:
    """Unbiased KID between feature sets (n, d) and (m, d), at least two rows each; may be slightly negative."""
    return mmd(cubic_kernels(generated, true))
