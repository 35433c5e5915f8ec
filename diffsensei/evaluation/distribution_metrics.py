"""The metrics that compare two sets of panels: one line in `DISTRIBUTION_METRICS` each.

Such a figure has no value per panel. Its interval is never a bootstrap: panels drawn twice make a set look less varied
than it is and bias every distance between distributions. Intervals are jackknives over pages, delete-one-page for the
kernel distances and infinitesimal for the Frechet distances, whose every value is a matrix decomposition; means over
pages are resampled like any mean.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diffsensei.evaluation.cmmd import CMMD, gaussian_kernels
from diffsensei.evaluation.fd_dino import FD_DINO
from diffsensei.evaluation.fid import FID, Features, frechet_distance, frechet_influences
from diffsensei.evaluation.fid_first_pool import FID_FIRST_POOL
from diffsensei.evaluation.fid_infinity import FID_INFINITY, fid_infinity
from diffsensei.evaluation.fid_pages import FID_PAGES, FID_UNIT_PAGES, SCALE, page_distances, unit_length
from diffsensei.evaluation.kid import KID, cubic_kernels
from diffsensei.evaluation.results import MetricDefinition
from diffsensei.evaluation.statistics import (
    Interval,
    cluster_bootstrap,
    influence_interval,
    jackknife_interval,
    ratio_of_sums,
)
from diffsensei.evaluation.unbiased_mmd import Kernels, mmd, mmd_without_pages
from diffsensei.seeding import numpy_stream

Sight = Literal["distribution", "first_pool", "clip", "dino"]
STATISTICS_SEED = 0
"""Resampling is no part of the experiment: its stream is fixed, so equal measurements give equal intervals."""


@dataclass(frozen=True)
class FeatureSet:
    """Features (n, d) and the page number of each row (n,), numbered alike in both sets of a comparison."""

    features: Features
    pages: NDArray[np.intp]


@dataclass(frozen=True)
class Estimate:
    value: float
    """NaN where the sets are too small."""
    interval: Interval
    how: str
    """How the interval was found."""


@dataclass(frozen=True)
class Sampling:
    """What an interval needs to know."""

    num_pages: int
    confidence: float
    resamples: int


Compute = Callable[[FeatureSet, FeatureSet, Sampling], Estimate]


@dataclass(frozen=True)
class DistributionMetric:
    definition: MetricDefinition
    judge: Sight
    """Which features it compares."""
    compute: Compute
    """(generated, true, sampling) to the estimate; both sets hold at least two rows."""


def _frechet(generated: FeatureSet, true: FeatureSet, sampling: Sampling) -> Estimate:
    mine, theirs = frechet_influences(generated.features, true.features)
    by_page = np.zeros(sampling.num_pages)
    np.add.at(by_page, generated.pages, mine)
    np.add.at(by_page, true.pages, theirs)
    value = frechet_distance(generated.features, true.features)
    interval = influence_interval(value, by_page, confidence=sampling.confidence, floor=0.0)
    return Estimate(value, interval, "infinitesimal jackknife over pages of the first seed, normal")


def _kernel(kernels: Callable[[Features, Features], Kernels]) -> Compute:
    def compute(generated: FeatureSet, true: FeatureSet, sampling: Sampling) -> Estimate:
        found = kernels(generated.features, true.features)
        left_out = mmd_without_pages(found, generated.pages, true.pages, sampling.num_pages)
        value = mmd(found)
        interval = jackknife_interval(value, left_out, confidence=sampling.confidence, floor=None)
        return Estimate(value, interval, "delete-one-page jackknife of the first seed, normal")

    return compute


def _by_page(name: str, scale: float, prepare: Callable[[Features], Features]) -> Compute:
    def compute(generated: FeatureSet, true: FeatureSet, sampling: Sampling) -> Estimate:
        mine, theirs = prepare(generated.features), prepare(true.features)
        distances = scale * page_distances(mine, generated.pages, theirs, true.pages)
        sums = np.stack([distances, np.ones(len(distances))], axis=1)
        interval = cluster_bootstrap(
            sums,
            ratio_of_sums,
            resamples=sampling.resamples,
            confidence=sampling.confidence,
            rng=numpy_stream(STATISTICS_SEED, "bootstrap", name),
        )
        value = float(distances.mean()) if len(distances) else float("nan")
        return Estimate(
            value, interval, f"page bootstrap of the first seed, {sampling.resamples} resamples, percentile"
        )

    return compute


def _at_infinity(generated: FeatureSet, true: FeatureSet, sampling: Sampling) -> Estimate:
    rng = numpy_stream(STATISTICS_SEED, "subsets", FID_INFINITY.name)
    value = fid_infinity(generated.features, generated.pages, true.features, true.pages, rng)
    return Estimate(value, Interval(None, None), "none: the extrapolation's own error is not estimated")


def _same(features: Features) -> Features:
    return features


DISTRIBUTION_METRICS = (
    DistributionMetric(FID, "distribution", _frechet),
    DistributionMetric(KID, "distribution", _kernel(cubic_kernels)),
    DistributionMetric(FID_FIRST_POOL, "first_pool", _frechet),
    DistributionMetric(FID_PAGES, "distribution", _by_page(FID_PAGES.name, SCALE, _same)),
    DistributionMetric(FID_UNIT_PAGES, "distribution", _by_page(FID_UNIT_PAGES.name, 1.0, unit_length)),
    DistributionMetric(FID_INFINITY, "distribution", _at_infinity),
    DistributionMetric(CMMD, "clip", _kernel(gaussian_kernels)),
    DistributionMetric(FD_DINO, "dino", _frechet),
)
