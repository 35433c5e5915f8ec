"""FID page by page: the mean of Frechet distances between one page's generated and one page's true panels.

Not a good metric: with a handful of panels a page the covariance terms rule, and methods of different quality come
close together. It is here because the paper's FID (0.407 to 0.414 for all methods) has no stated definition, and this
is one that would give such numbers, divided by 1000 as raw features or as it is on features of length 1.
"""

import numpy as np
from numpy.typing import NDArray

from diffsensei.evaluation.fid import MIN_PANELS, Features, frechet_distance
from diffsensei.evaluation.results import MetricDefinition

SCALE = 1e-3
FID_PAGES = MetricDefinition(
    name="fid_page_mean",
    label="FID per page / 1000",
    definition="Frechet distance between the generated and true panels of one page, mean over pages of two panels or "
    "more, divided by 1000",
    unit="squared feature distance / 1000",
    higher_is_better=False,
    source="ours: a candidate for the paper's undefined FID",
    group="distribution",
)
FID_UNIT_PAGES = MetricDefinition(
    name="fid_l2_page_mean",
    label="FID per page, unit features",
    definition="Frechet distance between the generated and true panels of one page on features scaled to length 1, "
    "mean over pages of two panels or more",
    unit="squared feature distance",
    higher_is_better=False,
    source="ours: a candidate for the paper's undefined FID",
    group="distribution",
)


def page_distances(
    generated: Features, generated_pages: NDArray[np.intp], true: Features, true_pages: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Frechet distance of every page that has two rows or more in both sets of features (n, d) and (m, d)."""
    found = []
    for page in np.intersect1d(generated_pages, true_pages):
        mine, theirs = generated[generated_pages == page], true[true_pages == page]
        if min(len(mine), len(theirs)) >= MIN_PANELS:
            found.append(frechet_distance(mine, theirs))
    return np.array(found, dtype=np.float64)


def unit_length(features: Features) -> Features:
    """``features`` (n, d) scaled to length 1; zero rows stay zero."""
    wide = features.astype(np.float64)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), np.finfo(float).tiny)
