"""Intervals that hold for several numbers at once."""

from __future__ import annotations

import numpy as np

from tasks.contract.nuisance import Float64
from tasks.contract.rng import UInt64, rng_for

DRAWS = 20_000


def critical_value(values: Float64, weights: Float64, clusters: UInt64 | None = None, seed: int = 0, level: float = 0.95) -> float:
    """Return the quantile of the largest absolute t of several estimates: multiply their standard errors by it.

    The estimates are jointly normal with the correlation of their influence values (Hothorn, Bretz, Westfall 2008,
    DOI 10.1002/bimj.200810425); the quantile is that of 20,000 draws.

    Parameters
    ----------
    values : ndarray of float64, shape (n, P)
        Influence values.
    weights : ndarray of float64, shape (n,)
        Row weights.
    clusters : ndarray of uint64, shape (n,), optional
        Hash of each row's cluster: values are summed within.
    seed : int
        Decides the draws.
    level : float
        Coverage of all intervals at once, in (0, 1).

    Returns
    -------
    float
        At least the normal quantile, but for the error of the draws.
    """
    weighted = values * weights[:, None]
    if clusters is not None:
        _, place = np.unique(clusters, return_inverse=True)
        weighted = np.column_stack([np.bincount(place, weights=column) for column in weighted.T])
    covariance = weighted.T @ weighted
    scale = np.sqrt(np.diag(covariance))
    used = scale > 0.0
    if not used.any():
        return 0.0
    correlation = covariance[np.ix_(used, used)] / np.outer(scale[used], scale[used])
    values_of, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.maximum(values_of, 0.0))
    draws = rng_for(seed, "simultaneous").standard_normal((DRAWS, len(root))) @ root.T
    return float(np.quantile(np.abs(draws).max(axis=1), level))
