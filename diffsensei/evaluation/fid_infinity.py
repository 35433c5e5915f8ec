"""FID as if there were endlessly many panels (Chong & Forsyth 2020).

FID of finite sets is too large by a term that is close to linear in 1/N and differs between methods, so that equal N
does not cancel it. FID is computed on subsets of growing size, a line is fitted over 1/N, and its value at 1/N = 0 is
reported. Subsets are whole pages without replacement, the same pages of both sets, because here both sets are small
(the authors keep a large true set fixed). The extrapolation may come out below 0.
"""

import numpy as np
from numpy.typing import NDArray

from diffsensei.evaluation.fid import MIN_PANELS, Features, frechet_distance
from diffsensei.evaluation.results import MetricDefinition

SHARES = (0.35, 0.5, 0.65, 0.8, 1.0)
DRAWS = 2
FID_INFINITY = MetricDefinition(
    name="fid_infinity",
    label="FID at infinity",
    definition="FID of page subsets of growing size, extrapolated linearly in 1/N to endlessly many panels",
    unit="squared feature distance",
    higher_is_better=False,
    source="Chong & Forsyth 2020; both sets subsampled by the same pages",
    group="distribution",
)


def fid_infinity(
    generated: Features,
    generated_pages: NDArray[np.intp],
    true: Features,
    true_pages: NDArray[np.intp],
    rng: np.random.Generator,
) -> float:
    """The intercept over 1/N; NaN where fewer than two subset sizes of two panels or more can be drawn."""
    pages = np.union1d(generated_pages, true_pages)
    points = []
    for share in SHARES:
        for _ in range(DRAWS if share < 1 else 1):
            chosen = rng.permutation(pages)[: round(share * len(pages))]
            mine, theirs = generated[np.isin(generated_pages, chosen)], true[np.isin(true_pages, chosen)]
            if min(len(mine), len(theirs)) >= MIN_PANELS:
                points.append((2 / (len(mine) + len(theirs)), frechet_distance(mine, theirs), share))
    if len({share for _, _, share in points}) < 2:
        return float("nan")
    inverse, distances, _ = np.array(points).T
    if np.ptp(inverse) == 0:
        return float("nan")
    return float(np.polynomial.polynomial.polyfit(inverse, distances, 1)[0])
