"""Where predictions may lie, and how few rows an arm may have."""

from __future__ import annotations

import numpy as np

from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64, Int8

EDGE = 1e-6

_FEWEST = 2


def within(kind: str, values: Float64) -> Float64:
    """Hold predictions strictly inside the range of a kind: (0, 1) for binary, (0, inf) for count.

    Parameters
    ----------
    kind : {"binary", "continuous", "count"}
        Kind of what is predicted; a propensity is binary.
    values : ndarray of float64, shape (n,)
        Predictions.

    Returns
    -------
    ndarray of float64, shape (n,)
        At least 1e-6 away from 0 and 1 (binary) or from 0 (count).
    """
    if kind == "binary":
        return np.clip(values, EDGE, 1.0 - EDGE)
    return np.maximum(values, EDGE) if kind == "count" else values


def require_arms(treatment: Int8, fewest: int = _FEWEST) -> None:
    """Refuse training rows in which an arm is missing.

    Raises
    ------
    EstimationError
        If an arm has fewer than ``fewest`` rows.
    """
    treated = int(np.count_nonzero(treatment))
    smallest = min(treated, len(treatment) - treated)
    if smallest < fewest:
        raise EstimationError(
            f"smallest arm of the training rows must be at least {fewest} rows; got {smallest}.",
            "Use fewer folds, or a source in which both arms are larger.",
        )
