"""The nuisance functions g, Q0, Q1: how they are learnt without seeing the row they are used on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

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
        """Return whether a start needs no further pass."""
        ...

    def models(self, state: Any) -> tuple[tuple[PropensityModel | None, OutcomeModel], ...]:
        """Return g (None where it was not fitted) and Q of each fold, once finished."""
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
    """A learner that cross-fits a table in one call, for thousands of small tables."""

    def predict_folds(self, covariates: pd.DataFrame, treatment: Int8, outcome: Float64, kind: str, folds: Int8) -> Nuisances:
        """Return out-of-fold g, Q0 and Q1, each of shape (n,): up to rounding what fits without each fold's rows predict for them."""
        ...
