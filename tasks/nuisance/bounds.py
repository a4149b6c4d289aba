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


def on_simplex(values: Float64) -> Float64:
    """Hold predicted probabilities of K arms at least about 1e-6 away from 0, rows summing to one.

    Parameters
    ----------
    values : ndarray of float64, shape (n, K)
        Not negative, no row all zero.
    """
    held = np.maximum(values / values.sum(axis=1, keepdims=True), EDGE)
    return np.asarray(held / held.sum(axis=1, keepdims=True))


def arms_of(treatment: Int8) -> int:
    """Return the number of arms of training rows, all of which are among them; at least 2."""
    return max(2, int(treatment.max(initial=0)) + 1)


def require_arms(treatment: Int8, arms: int = 2, fewest: int = _FEWEST) -> None:
    """Refuse training rows in which an arm is missing.

    Raises
    ------
    EstimationError
        If an arm has fewer than ``fewest`` rows.
    """
    smallest = int(np.bincount(treatment, minlength=arms).min())
    if smallest < fewest:
        raise EstimationError(
            f"smallest arm of the training rows must be at least {fewest} rows; got {smallest}.",
            "Use fewer folds, or a source in which every arm is larger.",
        )
