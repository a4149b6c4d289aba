"""The nuisance functions g, Q0, Q1: how they are learnt without seeing the row they are used on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from tasks.contract.rng import UInt64, mix, salt

if TYPE_CHECKING:
    import pandas as pd

Float64 = npt.NDArray[np.float64]
Int8 = npt.NDArray[np.int8]


class Nuisances(NamedTuple):
    """Out-of-fold predictions of one data set, each of shape (n,).

    Attributes
    ----------
    g : ndarray of float64
        P(A = 1 | W), not truncated.
    q0, q1 : ndarray of float64
        E[Y | A = 0, W], E[Y | A = 1, W], in units of the outcome.
    """

    g: Float64
    q0: Float64
    q1: Float64


class PropensityModel(Protocol):
    """A fitted g."""

    def predict(self, covariates: pd.DataFrame) -> Float64:
        """Return P(A = 1 | W), shape (n,), strictly inside (0, 1)."""
        ...


class OutcomeModel(Protocol):
    """A fitted Q."""

    def predict(self, covariates: pd.DataFrame, treatment: Int8) -> Float64:
        """Return E[Y | A, W], shape (n,), inside the range of the outcome's kind."""
        ...


class Learner(Protocol):
    """Fits g and Q on canonical frames: float64 columns with NaN, category columns with NaN."""

    def fit_propensity(
        self, covariates: pd.DataFrame, treatment: Int8, rng: np.random.Generator, weights: Float64 | None = None
    ) -> PropensityModel:
        """Fit g."""
        ...

    def fit_outcome(
        self,
        covariates: pd.DataFrame,
        treatment: Int8,
        outcome: Float64,
        kind: str,
        rng: np.random.Generator,
        weights: Float64 | None = None,
    ) -> OutcomeModel:
        """Fit Q; ``kind`` is "binary", "continuous" or "count"."""
        ...


def assign_folds(keys: UInt64, strata: npt.NDArray[np.integer], folds: int, seed: int, repeat: int = 0) -> Int8:
    """Assign rows to folds, stratified, by their keys: row order and partitioning don't matter.

    Parameters
    ----------
    keys : ndarray of uint64, shape (n,)
        Distinct row keys.
    strata : ndarray of int, shape (n,)
        Stratum of each row (treatment arm, times outcome where binary).
    folds : int
        Number of folds.
    seed, repeat : int
        Another repeat is another assignment.

    Returns
    -------
    ndarray of int8, shape (n,)
        In ``[0, folds)``; fold sizes within a stratum differ by at most one.
    """
    mixed = mix(keys, salt(seed, "fold", repeat))
    order = np.lexsort((mixed, strata))
    ordered = strata[order]
    first = np.concatenate(([0], np.flatnonzero(np.diff(ordered)) + 1)) if len(ordered) else np.zeros(1, dtype=np.intp)
    rank = np.arange(len(ordered)) - np.repeat(first, np.diff(np.concatenate((first, [len(ordered)]))))
    result = np.empty(len(keys), dtype=np.int8)
    # strata start at different folds so that remainders spread
    result[order] = (rank + ordered.astype(np.int64)) % folds
    return result
