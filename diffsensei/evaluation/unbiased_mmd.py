"""The unbiased squared maximum mean discrepancy (Gretton et al. 2012, equation 3), and what it is without each page.

From kernel matrices within and between two sets: the mean of each within-set matrix off its diagonal, minus twice the
mean between. Leaving out a page takes its rows and columns from those sums, so all leave-one-page-out values come from
the page-by-page sums of one kernel matrix.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Pages = NDArray[np.intp]
"""The number of each row's page, 0..P-1."""


@dataclass(frozen=True)
class Kernels:
    """Kernel matrices (n, n), (m, m) and (n, m)."""

    within_generated: Floats
    within_true: Floats
    between: Floats


def mmd(kernels: Kernels) -> float:
    """Unbiased squared MMD; needs two rows in each set; may be slightly negative."""
    return float(
        _off_diagonal_mean(kernels.within_generated)
        + _off_diagonal_mean(kernels.within_true)
        - 2 * kernels.between.mean()
    )


def mmd_without_pages(kernels: Kernels, generated_pages: Pages, true_pages: Pages, num_pages: int) -> Floats:
    """`mmd` (P,) with each page left out of both sets; NaN where a set would have fewer than two rows."""
    n, m = (np.bincount(pages, minlength=num_pages).astype(float) for pages in (generated_pages, true_pages))
    left_n, left_m = n.sum() - n, m.sum() - m
    between = _page_sums(kernels.between, generated_pages, true_pages, num_pages)
    kept = between.sum() - between.sum(0) - between.sum(1) + between.diagonal()
    with np.errstate(divide="ignore", invalid="ignore"):
        values = (
            _means_without(kernels.within_generated, generated_pages, num_pages, left_n)
            + _means_without(kernels.within_true, true_pages, num_pages, left_m)
            - 2 * kept / (left_n * left_m)
        )
    return np.where((left_n > 1) & (left_m > 1), values, np.nan)


def _off_diagonal_mean(kernel: Floats) -> float:
    return float((kernel.sum() - np.trace(kernel)) / (len(kernel) * (len(kernel) - 1)))


def _means_without(kernel: Floats, pages: Pages, num_pages: int, left: Floats) -> Floats:
    sums = _page_sums(kernel, pages, pages, num_pages)
    sums[np.diag_indices(num_pages)] -= np.bincount(pages, weights=kernel.diagonal(), minlength=num_pages)
    kept = sums.sum() - sums.sum(0) - sums.sum(1) + sums.diagonal()
    return kept / (left * (left - 1))


def _page_sums(matrix: Floats, rows: Pages, columns: Pages, num_pages: int) -> Floats:
    """``matrix`` (n, m) added up over the rows and the columns of each page: (P, P)."""
    one_hot = np.eye(num_pages)
    return one_hot[rows].T @ matrix @ one_hot[columns]
