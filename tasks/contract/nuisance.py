"""The nuisance functions g, Q0, Q1: how they are learnt without seeing the row they are used on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

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


class FoldRows(NamedTuple):
    """Rows of one partition as a refinement visits them.

    Attributes
    ----------
    covariates : DataFrame, n rows
        Canonical covariates.
    treatment : ndarray of int8, shape (n,)
        0 or 1.
    outcome : ndarray of float64, shape (n,)
        Outcome.
    fold : ndarray of int8, shape (n,)
        Fold of each row, in [0, K).
    weights : ndarray of float64, shape (n,), or None
        Row weights, not negative; None for equal ones.
    """

    covariates: pd.DataFrame
    treatment: Int8
    outcome: Float64
    fold: Int8
    weights: Float64 | None = None


class Refinement(Protocol):
    """A reduction over :class:`FoldRows` that turns each fold's models of a sample into those of all its training rows.

    ``start``, ``visit``, ``merge`` and ``advance`` are those of :class:`tasks.contract.reduction.Reduction`; states pickle.
    """

    def start(self) -> Any:
        """Return the start of the first pass."""
        ...

    def visit(self, state: Any, part: FoldRows) -> Any:
        """Return a pass's start with one partition seen (runs on a worker)."""
        ...

    def merge(self, left: Any, right: Any) -> Any:
        """Return the state that has seen what both have seen; both come from one pass."""
        ...

    def advance(self, state: Any) -> Any:
        """Return the start of the next pass."""
        ...

    def finished(self, state: Any) -> bool:
        """Tell whether a start needs no pass any more."""
        ...

    def models(self, state: Any) -> tuple[tuple[PropensityModel | None, OutcomeModel], ...]:
        """Return g (None where it was not asked for) and Q of each fold, once finished."""
        ...


@runtime_checkable
class PartitionedLearner(Protocol):
    """A learner that can go on from a sample to any number of rows, one partition in memory at a time."""

    def refinement(
        self, propensities: Sequence[PropensityModel | None], outcomes: Sequence[OutcomeModel], rows: Sequence[int], kind: str
    ) -> Refinement:
        """Return the passes that refine what this learner fitted on a sample of each fold's training rows.

        Parameters
        ----------
        propensities, outcomes : sequence of K models
            Fold k's models, fitted on rows outside fold k; None for a g that is known.
        rows : sequence of K int
            Rows each fold's models were fitted on.
        kind : {"binary", "continuous", "count"}
            Kind of the outcome.
        """
        ...


@runtime_checkable
class FoldedLearner(Protocol):
    """A learner that cross-fits a table in one call, for those who cross-fit thousands of small ones."""

    def predict_folds(self, covariates: pd.DataFrame, treatment: Int8, outcome: Float64, kind: str, folds: Int8) -> Nuisances:
        """Return out-of-fold g, Q0 and Q1, each of shape (n,): up to rounding what fits without each fold's rows predict for them."""
        ...


def training_rows(keys: UInt64, train: npt.NDArray[np.bool_], cap: int, seed: int) -> npt.NDArray[np.bool_]:
    """Pick the training rows of one fold, at most ``cap`` of them.

    Parameters
    ----------
    keys : ndarray of uint64, shape (n,)
        Distinct row keys.
    train : ndarray of bool, shape (n,)
        Rows outside the fold.
    cap : int
        Most rows a learner is fitted on.
    seed : int
        The SPEC's seed.

    Returns
    -------
    ndarray of bool, shape (n,)
        ``train`` itself, or its rows with the ``cap`` smallest hashes: the same rows in any order and partitioning.
    """
    if int(np.count_nonzero(train)) <= cap:
        return train.copy()
    rows = np.flatnonzero(train)
    # keys are distinct and mixing is a bijection: there are no ties
    first = np.argpartition(mix(keys[rows], salt(seed, "fit-rows")), cap - 1)[:cap]
    kept = np.zeros(len(train), dtype=bool)
    kept[rows[first]] = True
    return kept


def fold_strata(arm: Int8, y: Float64, kind: str) -> npt.NDArray[np.int64]:
    """Return the strata that folds are assigned in, shape (n,): the arm, times the outcome where it is binary."""
    strata = np.asarray(arm, dtype=np.int64)
    return 2 * strata + np.asarray(y, dtype=np.int64) if kind == "binary" else strata


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
