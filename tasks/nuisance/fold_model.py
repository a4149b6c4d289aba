"""g and Q as one fold's training rows give them: fitted, and used on any rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64, Int8, Learner, Nuisances, OutcomeModel, Predictions, PropensityModel
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
class AlwaysKnown:
    """The presence of an outcome that no training row lacks."""

    def predict(self, covariates: pd.DataFrame, treatment: Int8) -> Float64:  # noqa: ARG002, the OutcomeModel protocol
        """Return 1 for each row, shape (n,)."""
        return np.ones(len(covariates))

    def join_arm(self, scoring: Scoring, arm: int) -> Part:  # noqa: ARG002, the protocol
        """Join a pass (:class:`tasks.nuisance.scoring.sums.ScoredOutcome`): there is nothing to be summed."""
        return lambda sums: np.ones(sums.rows)


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
    further : tuple of OutcomeModel
        Q of further outcomes.
    presence : tuple of OutcomeModel or None
        Of every outcome the chance that its cell is known, given arm and covariates; None where no cell is missing. Empty where none is.
    """

    propensity: PropensityModel
    outcome: OutcomeModel
    rows: int
    arms: int = 2
    further: tuple[OutcomeModel, ...] = ()
    presence: tuple[OutcomeModel | None, ...] = ()

    @property
    def first(self) -> FoldModel:
        """G and Q of the first outcome alone."""
        return replace(self, further=(), presence=())

    @property
    def regressions(self) -> tuple[OutcomeModel, ...]:
        """Q of all outcomes, then the chances to be known of those with missing cells."""
        return (self.outcome, *self.further, *(each for each in self.presence if each is not None))

    def predict(self, covariates: pd.DataFrame) -> Nuisances:
        """Return g and Q of the first outcome of any rows, each of shape (n,)."""
        return averaged((self,), covariates)

    def predict_all(self, covariates: pd.DataFrame) -> Predictions:
        """Return g and Q of all outcomes of any rows, each of shape (n,)."""
        return averaged_all((self,), covariates)

    def join(self, scoring: Scoring) -> tuple[Part, ...] | None:
        """Join a pass with g and each arm's regressions; None where they do not."""
        g = join_all((self.propensity,), scoring)
        outcomes = [join_all((model,), scoring, arm) for model in self.regressions for arm in range(self.arms)]
        return None if g is None or None in outcomes else (*g, *(part for parts in outcomes for part in parts or ()))

    def one_by_one(self, covariates: pd.DataFrame) -> list[Float64]:
        """Return g and the regressions of any rows as the models themselves predict them, arm by arm, each of shape (n,)."""
        n = len(covariates)
        predictions = self.zeros(n)
        with one_thread():
            # design matrices of a block stay in the cache, and memory does not grow with n
            for start in range(0, n, _BLOCK):
                block = covariates.iloc[start : start + _BLOCK]
                rows = slice(start, start + len(block))
                given = _by_arm(self.propensity.predict(block), self.arms)
                arms = [np.full(len(block), arm, dtype=np.int8) for arm in range(self.arms)]
                outcomes = (model.predict(block, arm) for model in self.regressions for arm in arms)
                for column, values in zip(predictions, (*given, *outcomes), strict=True):
                    column[rows] = values
        return predictions

    def zeros(self, n: int) -> list[Float64]:
        """Return arrays for g of the arms beside the control, and for every arm of the regressions."""
        return [np.zeros(n) for _ in range(self.arms - 1 + self.arms * len(self.regressions))]

    def packed(self, arrays: Sequence[Float64]) -> Predictions:
        """Return arrays in the order of :meth:`zeros` as predictions."""
        g, rest = arrays[: self.arms - 1], arrays[self.arms - 1 :]
        by_model = iter([tuple(rest[at : at + self.arms]) for at in range(0, len(rest), self.arms)])
        first, further = Nuisances(*g, *next(by_model)), tuple(next(by_model) for _ in self.further)
        return Predictions(first, further, tuple(None if each is None else next(by_model) for each in self.presence))


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
    further: Sequence[tuple[Float64, str]] = (),
    gaps: Sequence[bool] = (),
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
        Outcome, NaN where missing: Q is then fitted on the other rows, and the chance to be known on all.
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
    further : sequence of (ndarray of float64, str)
        Further outcomes and their kinds.
    gaps : sequence of bool
        Of every outcome whether some row of the table lacks it; by default whether a training row does.

    Returns
    -------
    FoldModel

    Raises
    ------
    EstimationError
        If an arm has fewer than two training rows, or fewer than two of them have an outcome.
    """
    rows = np.flatnonzero(train if weights is None else train & (weights > 0.0))
    if keys is not None:
        rows = rows[np.argsort(keys[rows], kind="stable")]
    require_arms(a[rows], arms)
    frame = covariates.iloc[rows].reset_index(drop=True)
    row_weights = None if weights is None else weights[rows]
    with one_thread():
        propensity = learner.fit_propensity(frame, a[rows], rng, row_weights) if given is None else KnownPropensity(given)
        outcomes = [
            _fit_outcome(learner, frame, a[rows], each[rows], of, rng, row_weights, arms, bool(gaps) and gaps[number])
            for number, (each, of) in enumerate(((y, kind), *further))
        ]
    models, presence = zip(*outcomes)
    seen = presence if any(each is not None for each in presence) else ()
    return FoldModel(propensity, models[0], len(rows), arms, models[1:], seen)


def _fit_outcome(
    learner: Learner,
    covariates: pd.DataFrame,
    a: Int8,
    y: Float64,
    kind: str,
    rng: np.random.Generator,
    weights: Float64 | None,
    arms: int,
    gap: bool,
) -> tuple[OutcomeModel, OutcomeModel | None]:
    """Fit Q of one outcome, and where cells are missing the chance that they are known."""
    seen = ~np.isnan(y)
    if seen.all():
        return learner.fit_outcome(covariates, a, y, kind, rng, weights), AlwaysKnown() if gap else None
    require_arms(a[seen], arms)
    presence = learner.fit_outcome(covariates, a, seen.astype(np.float64), "binary", rng, weights)
    rows, frame = None if weights is None else weights[seen], covariates.loc[seen].reset_index(drop=True)
    return learner.fit_outcome(frame, a[seen], y[seen], kind, rng, rows), presence


def averaged(models: Sequence[FoldModel], covariates: pd.DataFrame) -> Nuisances:
    """Return the means over fold models of g and of Q of the first outcome, not targeted, each of shape (n,)."""
    return averaged_all([model.first for model in models], covariates).first


def averaged_all(models: Sequence[FoldModel], covariates: pd.DataFrame) -> Predictions:
    """Return the means over fold models of g and of Q of all outcomes, not targeted, each of shape (n,)."""
    total = models[0].zeros(len(covariates))
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
    return models[0].packed([sums / len(models) for sums in total])
