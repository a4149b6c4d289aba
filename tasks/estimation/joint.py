"""Intervals that hold for several estimates at once."""

from __future__ import annotations

import functools

import numpy as np

from tasks.contract.nuisance import Float64
from tasks.contract.rng import UInt64
from tasks.numerics.blocked import sums_by
from tasks.numerics.normal import Z95

#: Draws of the largest of the estimates' statistics, and the seed they are drawn with.
DRAWS, SEED = 100_000, 20_191_004


def joint_quantile(values: Float64, weights: Float64, clusters: UInt64 | None = None) -> float:
    """Return the factor on standard errors by which intervals of all estimates hold together in 95 % of samples.

    The 95 % quantile of max_j |Z_j|, with Z normal with mean zero and the correlations of the influence values, simulated: Hothorn,
    Bretz, Westfall (2008), DOI 10.1002/bimj.200810425. At least the quantile of one estimate.

    Parameters
    ----------
    values : ndarray of float64, shape (n, P)
        Influence values, row weights not multiplied in. Estimates without spread are left out.
    weights : ndarray of float64, shape (n,)
        Row weights.
    clusters : ndarray of uint64, shape (n,), optional
        Hash of each row's cluster: values are summed within.
    """
    weighted = values * weights[:, None]
    if clusters is not None:
        weighted = np.column_stack([sums_by(clusters, weighted[:, at]) for at in range(values.shape[1])])
    covariance = weighted.T @ weighted
    spread = np.sqrt(np.diag(covariance))
    used = spread > 0.0
    if np.count_nonzero(used) < 2:
        return Z95
    # contrasts of K arms are of rank K - 1: a square root by eigenvalues takes that
    size, vectors = np.linalg.eigh(covariance[np.ix_(used, used)] / np.outer(spread[used], spread[used]))
    root: Float64 = vectors * np.sqrt(np.maximum(size, 0.0))
    statistics = root @ _normal(len(root))
    return max(Z95, float(np.quantile(np.abs(statistics, out=statistics).max(axis=0), 0.95)))


@functools.lru_cache(maxsize=4)
def _normal(size: int) -> Float64:
    """Return the draws, shape (size, DRAWS): a simulation asks for them thousands of times."""
    return np.ascontiguousarray(np.random.default_rng(SEED).normal(size=(DRAWS, size)).T)
