"""g and Q as one fold's training rows give them: fitted, and used on any rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64, Int8, Learner, Nuisances, OutcomeModel, PropensityModel
from tasks.contract.rng import UInt64
from tasks.nuisance.bounds import require_arms
from tasks.nuisance.scoring.sums import Part, Scoring, join_all
from tasks.numerics.threads import one_thread

Mask = npt.NDArray[np.bool_]
_BLOCK = 8_192  # rows predicted at a time


@dataclass(frozen=True)
class KnownPropensity:
    """A propensity that is known by design, the same for all rows.

    Attributes
    ----------
    value : float or tuple of K float
        P(A = 1), in (0, 1); of more than two arms the shares of all, summing to one.
    """

    value: float | tuple[float, ...]

    def predict(self, covariates: pd.DataFrame) -> Float64:
        """Return the known probability for each row, shape (n,) or (n, K)."""
        if isinstance(self.value, tuple):
            return np.tile(np.array(self.value), (len(covariates), 1))
        return np.full(len(covariates), self.value)

    def join(self, scoring: Scoring) -> Part:  # noqa: ARG002, the protocol
        """Join a pass (:class:`tasks.nuisance.scoring.sums.ScoredPropensity`): there is nothing to be summed."""
        value = np.array(self.value)
        return lambda sums: np.broadcast_to(value, (sums.rows, *value.shape))


@dataclass(frozen=True)
class FoldModel:
    """g and Q as fitted on the training rows of one fold.

    Attributes
    ----------
    propensity, outcome : PropensityModel, OutcomeModel
        Fitted models.
    rows : int
        Training rows.
    arms : int
        K.
    """

    propensity: PropensityModel
    outcome: OutcomeModel
    rows: int
    arms: int = 2

    def predict(self, covariates: pd.DataFrame) -> Nuisances:
        """Return g and Q of any rows, each of shape (n,)."""
        return averaged((self,), covariates)

    def join(self, scoring: Scoring) -> tuple[Part, ...] | None:
        """Join a pass with g and each arm's Q; None where they do not."""
        g = join_all((self.propensity,), scoring)
        outcomes = [join_all((self.outcome,), scoring, arm) for arm in range(self.arms)]
        return None if g is None or None in outcomes else (*g, *(part for parts in outcomes for part in parts or ()))

    def one_by_one(self, covariates: pd.DataFrame) -> Nuisances:
        """Return g and Q of any rows as the models themselves predict them: what :meth:`predict` returns, up to rounding."""
        n = len(covariates)
        predictions = Nuisances.zeros(n, self.arms)
        with one_thread():
            # design matrices of a block stay in the cache, and memory does not grow with n
            for start in range(0, n, _BLOCK):
                block = covariates.iloc[start : start + _BLOCK]
                rows = slice(start, start + len(block))
                given = _by_arm(self.propensity.predict(block), self.arms)
                outcomes = (self.outcome.predict(block, np.full(len(block), arm, dtype=np.int8)) for arm in range(self.arms))
                for column, values in zip(predictions, (*given, *outcomes), strict=True):
                    column[rows] = values
        return predictions


def _by_arm(g: Float64, arms: int) -> Sequence[Float64]:
    """Return P(A = k | W) of the arms beside the control from what a learner predicts: (n,) of two arms, (n, K) of more."""
    if arms == 2:
        return (g,)
    if g.ndim != 2 or g.shape[1] != arms:
        raise EstimationError(
            f"learner of {arms} arms must predict a probability for each; got predictions of shape {g.shape}.",
            "Use stack, glm or boosted, or keep the rows of two arms.",
        )
    return list(g.T[1:])


def fit_fold(
    learner: Learner,
    covariates: pd.DataFrame,
    a: Int8,
    y: Float64,
    kind: str,
    train: Mask,
    rng: np.random.Generator,
    weights: Float64 | None = None,
    keys: UInt64 | None = None,
    given: float | tuple[float, ...] | None = None,
    arms: int = 2,
) -> FoldModel:
    """Fit g and Q on the training rows of one fold: one unit of parallel work.

    Parameters
    ----------
    learner : Learner
        Fits g and Q.
    covariates : DataFrame, n rows
        Canonical covariates.
    a : ndarray of int8, shape (n,)
        Treatment, 0, ..., K - 1.
    y : ndarray of float64, shape (n,)
        Outcome.
    kind : {"binary", "continuous", "count"}
        Kind of the outcome.
    train : ndarray of bool, shape (n,)
        Training rows.
    rng : numpy.random.Generator
        Spent on inner folds and the learner's own choices.
    weights : ndarray of float64, shape (n,), optional
        Row weights (Bayesian bootstrap); rows of weight zero are left out.
    keys : ndarray of uint64, shape (n,), optional
        Distinct row keys. With them the training rows are put in the order of their keys first, so that the
        fit does not depend on the order in which rows were given.
    given : float or tuple of float, optional
        Known P(A = 1), in (0, 1), or shares of K arms: g is then not fitted.
    arms : int
        K.

    Returns
    -------
    FoldModel

    Raises
    ------
    EstimationError
        If an arm has fewer than two training rows.
    """
    rows = np.flatnonzero(train if weights is None else train & (weights > 0.0))
    if keys is not None:
        rows = rows[np.argsort(keys[rows], kind="stable")]
    require_arms(a[rows], arms)
    frame = covariates.iloc[rows].reset_index(drop=True)
    row_weights = None if weights is None else weights[rows]
    with one_thread():
        propensity = learner.fit_propensity(frame, a[rows], rng, row_weights) if given is None else KnownPropensity(given)
        outcome = learner.fit_outcome(frame, a[rows], y[rows], kind, rng, row_weights)
    return FoldModel(propensity, outcome, len(rows), arms)


def averaged(models: Sequence[FoldModel], covariates: pd.DataFrame) -> Nuisances:
    """Return the means of g and Q over fold models, not targeted, each of shape (n,)."""
    total = Nuisances.zeros(len(covariates), models[0].arms)
    scoring = Scoring()
    joined = [model.join(scoring) for model in models]
    if any(parts is None for parts in joined):  # a learner from elsewhere
        for model in models:
            for sum_, values in zip(total, model.one_by_one(covariates), strict=True):
                sum_ += values
    else:
        for rows, sums in scoring.blocks(covariates):
            for model, parts in zip(models, joined, strict=True):
                g, *outcomes = (part(sums) for part in parts or ())
                for sum_, values in zip(total, (*_by_arm(g, model.arms), *outcomes), strict=True):
                    sum_[rows] += values
    return Nuisances(*(sums / len(models) for sums in total))
