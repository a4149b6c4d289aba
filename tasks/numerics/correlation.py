"""Rank correlation."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from tasks.contract.nuisance import Float64

#: Pairs below which a rank correlation says too little to be shown or kept.
FEWEST_PAIRS = 30


def spearman(x: Float64, y: Float64, weights: Float64 | None = None) -> float:
    """Return the correlation of ranks, mid-ranks for ties; 0 where nothing varies.

    Parameters
    ----------
    x, y : ndarray of float64, shape (n,)
    weights : ndarray of float64, shape (n,), optional
        Of rows, not negative: ranks are then weights below, and moments are weighted.
    """
    if weights is not None:
        return _weighted(_weighted_ranks(x, weights), _weighted_ranks(y, weights), weights)
    ranks = np.column_stack([rankdata(x), rankdata(y)])
    ranks -= ranks.mean(axis=0)
    size = float(np.sqrt(np.prod(np.sum(ranks**2, axis=0))))
    return float(ranks[:, 0] @ ranks[:, 1]) / size if size > 0.0 else 0.0


def _weighted_ranks(values: Float64, weights: Float64) -> Float64:
    """Return the weight below each value and half of that at it, less the mean."""
    _, place = np.unique(values, return_inverse=True)
    mass = np.bincount(place, weights=weights)
    ranks = (np.cumsum(mass) - mass / 2.0)[place]
    return np.asarray(ranks - np.average(ranks, weights=weights), dtype=np.float64)


def _weighted(x: Float64, y: Float64, weights: Float64) -> float:
    size = float(np.sqrt(np.sum(weights * x**2) * np.sum(weights * y**2)))
    return float(np.sum(weights * x * y)) / size if size > 0.0 else 0.0
