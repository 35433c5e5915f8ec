"""FID: how far the set of generated panels is from the set of true ones.

FID  |mu_1 - mu_2|^2 + Tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2)) of two Gaussians fitted to features, with covariances over
n - 1 (Heusel et al. 2017; clean-fid, Parmar et al. 2022). With centred features A, B (rows over sqrt(n - 1)), so that
S_1 = A'A and S_2 = B'B, Tr (S_1 S_2)^(1/2) is the nuclear norm of A B': the same number as clean-fid's matrix square
root, without its failures on singular covariances and a hundred times faster at 2048 dimensions.
"""

import numpy as np
from numpy.typing import NDArray

from diffsensei.evaluation.results import MetricDefinition

Features = NDArray[np.floating]

FID = MetricDefinition(
    name="fid",
    label="FID",
    definition="Frechet distance between Gaussians fitted to the features of generated and true panels",
    unit="squared feature distance",
    higher_is_better=False,
    source="Heusel et al. 2017, as computed by clean-fid (Parmar et al. 2022)",
)
MIN_PANELS = 2


def frechet_distance(generated: Features, true: Features) -> float:
    """Frechet distance between feature sets (n, d) and (m, d), at least two rows each; never below 0."""
    mean_gap = generated.astype(np.float64).mean(0) - true.astype(np.float64).mean(0)
    a, b = _root_covariance(generated), _root_covariance(true)
    cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return max(float(mean_gap @ mean_gap + np.sum(a * a) + np.sum(b * b) - 2 * cross), 0.0)


def frechet_influences(generated: Features, true: Features) -> tuple[Features, Features]:
    """How the distance moves, to first order, as each row of (n, d) and (m, d) weighs more: (n,) and (m,).

    A row's weight w changes |mu_1 - mu_2|^2 by 2 (mu_1 - mu_2).a / n and a trace by |a|^2, and the nuclear norm of
    A B' = U s V' by the row's share sum_k s_k U_ik^2 / 2 (of true rows, V): one decomposition gives every row's, where
    leaving pages out one by one would take as many. Sums over pages make an infinitesimal jackknife (Efron 1982).
    """
    gap = generated.astype(np.float64).mean(0) - true.astype(np.float64).mean(0)
    (a, left), (b, right) = _with_rotation(generated), _with_rotation(true)
    u, s, v = np.linalg.svd(a @ b.T, full_matrices=False)

    def influences(root: Features, rotation: Features | None, vectors: Features, step: Features) -> Features:
        if rotation is not None:
            root, vectors = rotation @ root, rotation @ vectors
        own = np.sum(root * root, axis=1) - vectors**2 @ s
        return np.asarray(2 * np.sqrt(len(root) - 1) / len(root) * (root @ step) + own - own.mean())

    return influences(a, left, u, gap), influences(b, right, v.T, -gap)


def _with_rotation(features: Features) -> tuple[Features, Features | None]:
    """A matrix R as `_root_covariance`'s, and Q with Q R = the centred rows where R is not those itself."""
    root = _centred(features)
    if len(root) <= root.shape[1]:
        return root, None
    rotation, root = np.linalg.qr(root)
    return root, rotation


def _root_covariance(features: Features) -> Features:
    """A matrix R with R'R = the covariance of ``features``, with at most d rows."""
    centred = _centred(features)
    if len(centred) <= centred.shape[1]:
        return centred
    return np.asarray(np.linalg.qr(centred, mode="r"))


def _centred(features: Features) -> Features:
    features = features.astype(np.float64)
    if len(features) < MIN_PANELS:
        raise ValueError(f"a Frechet distance needs at least {MIN_PANELS} panels per set, got {len(features)}")
    return (features - features.mean(0)) / np.sqrt(len(features) - 1)
