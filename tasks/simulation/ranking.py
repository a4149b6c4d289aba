"""Which estimator is best, and how sure one can be of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tasks.contract.nuisance import Float64

RESAMPLES = 1_000
#: Share by which two RMSEs may differ and still be the same: equal estimates share a place.
TIE = 1e-9


class Place(NamedTuple):
    """An estimator's place in a cell.

    Attributes
    ----------
    estimator : str
    rank : int
        From 1; equal RMSEs share one.
    rmse : float
        Over the replicates that all ranked estimators answered.
    probability_best : float
        Share of bootstrap samples of replicates in which its RMSE is the least; shared out where several are.
    """

    estimator: str
    rank: int
    rmse: float
    probability_best: float


def ranking(errors: Mapping[str, Float64], rng: np.random.Generator) -> list[Place]:
    """Rank estimators of one estimand by RMSE.

    Parameters
    ----------
    errors : mapping of str to ndarray of float64, shape (R,)
        Estimate minus truth by estimator, over the same replicates; NaN where it failed.
    rng : numpy.random.Generator
        Resamples replicates.

    Returns
    -------
    list of Place
        The best first; empty where no estimator, or no replicate that all answered, is left. Estimators that never answer have no place.
    """
    names = [name for name, values in errors.items() if np.isfinite(values).any()]
    if not names:
        return []
    square = np.stack([errors[name] ** 2 for name in names], axis=1)
    square = square[np.isfinite(square).all(axis=1)]
    if len(square) == 0:
        return []
    rmse = np.sqrt(square.mean(axis=0))
    shares = np.zeros(len(names))
    for _ in range(RESAMPLES):
        counts = np.bincount(rng.integers(len(square), size=len(square)), minlength=len(square))
        means = counts @ square
        best = means <= means.min() * (1.0 + TIE)
        shares += best / best.sum()
    order = sorted(range(len(names)), key=lambda at: (rmse[at], names[at]))
    return [
        Place(names[at], 1 + int(np.count_nonzero(rmse < rmse[at] * (1.0 - TIE))), float(rmse[at]), float(shares[at] / RESAMPLES))
        for at in order
    ]
