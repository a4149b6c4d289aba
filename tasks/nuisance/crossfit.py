"""Cross-fitting of g and Q: no row is predicted by a model that has seen it.

One :class:`tasks.nuisance.plan.Plan` decides; this module carries it out for a table in memory, for one on disk, and, batched, for
thousands of small tables. :mod:`tasks.nuisance.task` carries it out by tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.contract.nuisance import (
    Float64,
    FoldedLearner,
    FoldRows,
    Int8,
    Learner,
    Nuisances,
    PartitionedLearner,
    Predictions,
    Refinement,
    StreamedLearner,
)
from tasks.contract.reduction import reduce_passes
from tasks.contract.rng import UInt64
from tasks.nuisance.fold_model import FoldModel, KnownPropensity, fit_fold
from tasks.nuisance.plan import Plan
from tasks.numerics.threads import one_thread

Mask = npt.NDArray[np.bool_]
Report = Callable[[str], None]


class Rows(NamedTuple):
    """What cross-fitting holds of every row, whatever is done with the covariates; arrays of shape (n,).

    Attributes
    ----------
    keys : ndarray of uint64
        Distinct.
    a : ndarray of int8
        Treatment, 0, ..., K - 1.
    y : ndarray of float64
        Outcome.
    kind : str
        ``"binary"``, ``"continuous"`` or ``"count"``.
    weights : ndarray of float64, optional
        Row weights, not negative; None for equal ones.
    propensity : ndarray of float64, float or tuple of K float, optional
        P(A = 1 | W) where it is known, by row or one for all, or the shares of K arms: g is then not fitted.
    clusters : ndarray of uint64, optional
        Hash of each row's cluster: folds hold whole clusters.
    strata : ndarray of int64, optional
        Declared stratum of each row, from 0: folds are stratified by it.
    arms : int
        K.
    further : tuple of (ndarray of float64, str)
        Further outcomes and their kinds: :func:`fit_sample` fits them too.
    gaps : tuple of bool
        Of every outcome whether some row of the table lacks it: :func:`fit_sample` then fits its presence.
    """

    keys: UInt64
    a: Int8
    y: Float64
    kind: str
    weights: Float64 | None = None
    propensity: Float64 | float | tuple[float, ...] | None = None
    clusters: UInt64 | None = None
    strata: npt.NDArray[np.int64] | None = None
    arms: int = 2
    further: tuple[tuple[Float64, str], ...] = ()
    gaps: tuple[bool, ...] = ()


class Covariates(Protocol):
    """Canonical covariates of the same rows in the same order, at hand in batches."""

    def batches(self) -> Iterator[tuple[slice, pd.DataFrame]]:
        """Yield each batch with the rows it stands for."""
        ...

    def take(self, mask: Mask) -> pd.DataFrame:
        """Return the masked rows, in their order."""
        ...


class InMemory(NamedTuple):
    """Covariates that are held in memory: one batch."""

    frame: pd.DataFrame

    def batches(self) -> Iterator[tuple[slice, pd.DataFrame]]:
        """Yield all rows."""
        yield slice(0, len(self.frame)), self.frame

    def take(self, mask: Mask) -> pd.DataFrame:
        """Return the masked rows."""
        return self.frame if mask.all() else self.frame.loc[mask]


class CrossFit(NamedTuple):
    """Out-of-fold predictions of every row, averaged over repeats, and what made them.

    Attributes
    ----------
    nuisances : Nuisances
        Each of shape (n,), in the order of the rows given.
    models : tuple of FoldModel
        Fold by fold, repeat by repeat.
    rows : int
        Rows that any model of one repeat was fitted on: all, or those of the folds' hash samples.
    """

    nuisances: Nuisances
    models: tuple[FoldModel, ...]
    rows: int


def _silent(_: str) -> None:
    """Report nothing."""


def cross_fit(plan: Plan, learner: Learner, rows: Rows, covariates: Covariates, report: Report = _silent) -> CrossFit:
    """Fit every fold's models on other folds and predict the fold with them; average over repeats.

    Parameters
    ----------
    plan : Plan
    learner : Learner
        Fits g and Q. A :class:`tasks.contract.nuisance.PartitionedLearner` goes on from a sample to all training rows.
    rows : Rows
    covariates : Covariates
        :class:`InMemory`, or a table on disk of which a batch is in memory at a time.
    report : callable
        Gets a line of text as the work goes on.

    Returns
    -------
    CrossFit

    Raises
    ------
    EstimationError
        If a fold's training rows lack an arm.
    """
    total = Nuisances.zeros(len(rows.y), rows.arms)
    models: list[FoldModel] = []
    used = 0
    for repeat in range(plan.repeats):
        fold_of = plan.assign(rows.keys, rows.a, rows.y, rows.kind, repeat, rows.clusters, rows.strata)
        fits, seen = fit_folds(plan, learner, rows, covariates, fold_of, repeat, report)
        report("predicting")
        for sums, values in zip(total, predict_folds(fits, fold_of, covariates)):
            sums += values
        models.extend(fits)
        used = max(used, seen)
    return CrossFit(_averaged(total, plan.repeats, rows.propensity), tuple(models), used)


def cross_fit_small(plan: Plan, learner: Learner, rows: Rows, frame: pd.DataFrame) -> Predictions:
    """Do the same for one of thousands of small tables: all folds at once, where the learner can; of several outcomes too.

    Predictions of a :class:`tasks.contract.nuisance.FoldedLearner` agree with those of :func:`cross_fit` to about seven digits.

    Parameters
    ----------
    plan, learner, rows
        As in :func:`cross_fit`; no weights, no known propensity. Outcomes are NaN where missing.
    frame : DataFrame, n rows
        Canonical covariates.

    Returns
    -------
    Predictions
    """
    repeats = [_small(plan, learner, rows, frame, repeat) for repeat in range(plan.repeats)]
    if plan.repeats == 1:
        return repeats[0]
    means = iter([np.sum(each, axis=0) / plan.repeats for each in zip(*(one.columns().values() for one in repeats), strict=True)])
    return repeats[0].map(lambda _: next(means))


def _small(plan: Plan, learner: Learner, rows: Rows, frame: pd.DataFrame, repeat: int) -> Predictions:
    """Cross-fit a small table once."""
    filled = np.nan_to_num(rows.y, nan=0.0)
    fold_of = plan.assign(rows.keys, rows.a, filled, rows.kind, repeat, rows.clusters)
    if rows.arms == 2 and isinstance(learner, FoldedLearner):
        return learner.predict_folds(frame, rows.a, rows.y, rows.kind, fold_of, rows.further)
    models, _ = fit_folds(plan, learner, rows, InMemory(frame), fold_of, repeat)
    total = models[0].packed(models[0].zeros(len(fold_of)))
    with one_thread():
        for fold, model in enumerate(models):
            here = np.flatnonzero(fold_of == fold)
            predicted = model.predict_all(frame.iloc[here])
            for name, values in total.columns().items():
                values[here] = predicted.columns()[name]
    return total


def _averaged(total: Nuisances, repeats: int, propensity: Float64 | float | tuple[float, ...] | None) -> Nuisances:
    average = Nuisances(*(sums / repeats for sums in total))
    if propensity is None:
        return average
    given = propensity[1:] if isinstance(propensity, tuple) else (propensity,)
    return average.with_propensities(*(np.broadcast_to(one, total[0].shape).copy() for one in given))


def fit_folds(
    plan: Plan, learner: Learner, rows: Rows, covariates: Covariates, fold_of: Int8, repeat: int, report: Report = _silent
) -> tuple[list[FoldModel], int]:
    """Fit the models of every fold of one repeat.

    Parameters
    ----------
    plan, learner, rows, covariates, report
        As in :func:`cross_fit`.
    fold_of : ndarray of int8, shape (n,)
        Fold of each row, as :meth:`tasks.nuisance.plan.Plan.assign` gives it.
    repeat : int
        Which of the plan's repeats.

    Returns
    -------
    tuple of list of FoldModel and int
        One model per fold, and the number of rows that any of them was fitted on.
    """
    chosen = [plan.training(rows.keys, fold_of, fold, rows.clusters) for fold in range(plan.folds)]
    union = np.logical_or.reduce(chosen)
    places, frame = np.flatnonzero(union), covariates.take(union)
    models = []
    for fold, mask in enumerate(chosen):
        report(f"fitting fold {fold + 1} of {plan.folds} on {int(np.count_nonzero(mask)):,} rows")
        model = fit_sample(plan, learner, rows_at(rows, places), frame, mask[places], repeat, fold)
        if plan.streams(learner, len(rows.y)):
            heaviest = 1.0 if rows.weights is None else float(rows.weights.max())
            others = int(np.count_nonzero(fold_of != fold))
            model = streamed_model(learner, model, lambda: _parts(rows, covariates, fold_of), fold, heaviest, others)
        models.append(model)
    if plan.streams(learner, len(rows.y)):
        return models, len(rows.y)
    if not plan.refines(learner, len(rows.y), rows.arms):
        return models, len(places)
    refinement = refinement_of(learner, models, rows.kind)
    state = reduce_passes(
        refinement,
        lambda: _parts(rows, covariates, fold_of),
        lambda number: report(f"fitting all {len(rows.y):,} rows, pass {number}"),
    )
    sizes = np.bincount(fold_of, minlength=plan.folds)
    fitted = [refined_model(refinement, state, model, fold, len(rows.y) - int(sizes[fold])) for fold, model in enumerate(models)]
    return fitted, len(rows.y)


def rows_at(rows: Rows, places: npt.NDArray[np.intp] | Mask) -> Rows:
    """Return the rows at some places."""
    weights = None if rows.weights is None else rows.weights[places]
    propensity = rows.propensity[places] if isinstance(rows.propensity, np.ndarray) else rows.propensity
    further = tuple((y[places], kind) for y, kind in rows.further)
    some = Rows(rows.keys[places], rows.a[places], rows.y[places], rows.kind, weights, propensity, arms=rows.arms)
    return some._replace(further=further, gaps=rows.gaps)


def fit_sample(plan: Plan, learner: Learner, rows: Rows, frame: pd.DataFrame, train: Mask, repeat: int, fold: int) -> FoldModel:
    """Fit one fold's models on the training rows among those given: one unit of parallel work, the same in every backend.

    Parameters
    ----------
    plan, learner
        As in :func:`cross_fit`.
    rows : Rows
        With all training rows of the fold among them.
    frame : DataFrame, n rows
        Their covariates.
    train : ndarray of bool, shape (n,)
        Which of them are training rows: :meth:`tasks.nuisance.plan.Plan.training`.
    repeat, fold : int

    Returns
    -------
    FoldModel
    """
    # where known propensities differ by row, the fold's model is their mean, and predictions are replaced by the known ones
    propensity = float(np.mean(rows.propensity)) if isinstance(rows.propensity, np.ndarray) else rows.propensity
    rng = plan.rng(repeat, fold)
    given = (rows.weights, rows.keys, propensity, rows.arms, rows.further, rows.gaps)
    return fit_fold(learner, frame, rows.a, rows.y, rows.kind, train, rng, *given)


def refinement_of(learner: Learner, models: Sequence[FoldModel], kind: str) -> Refinement:
    """Return the passes that go on from models of a sample to models of all training rows."""
    assert isinstance(learner, PartitionedLearner)  # Plan.refines said so
    propensities = [None if isinstance(model.propensity, KnownPropensity) else model.propensity for model in models]
    return learner.refinement(propensities, [model.outcome for model in models], [model.rows for model in models], kind)


def refined_model(refinement: Refinement, state: object, sample: FoldModel, fold: int, rows: int) -> FoldModel:
    """Return one fold's models at the end of a refinement, which has seen so many rows outside it."""
    g, q = refinement.models(state)[fold]
    return FoldModel(sample.propensity if g is None else g, q, rows)


def streamed_model(
    learner: Learner, sample: FoldModel, parts: Callable[[], Iterator[FoldRows]], fold: int, heaviest: float, rows: int
) -> FoldModel:
    """Return one fold's models of all training rows, by a learner that fits them in batches (:meth:`tasks.nuisance.plan.Plan.streams`).

    Parameters
    ----------
    learner : StreamedLearner
    sample : FoldModel
        Of the fold's sample.
    parts : callable
        Returns the rows of all folds, batch by batch.
    fold : int
    heaviest : float
        Largest row weight.
    rows : int
        Rows outside the fold.
    """
    assert isinstance(learner, StreamedLearner)  # Plan.streams said so
    g = None if isinstance(sample.propensity, KnownPropensity) else sample.propensity
    g, q = learner.refit(g, sample.outcome, parts, fold, heaviest)
    assert q is not None  # there was one of the sample
    return replace(sample, propensity=sample.propensity if g is None else g, outcome=q, rows=rows)


def _parts(rows: Rows, covariates: Covariates, fold_of: Int8) -> Iterator[FoldRows]:
    for at, frame in covariates.batches():
        yield FoldRows(frame, rows.a[at], rows.y[at], fold_of[at], None if rows.weights is None else rows.weights[at])


def predict_folds(models: Sequence[FoldModel], fold_of: Int8, covariates: Covariates) -> Nuisances:
    """Predict each row by the models of its own fold, which have not seen it; arrays of shape (n,)."""
    predictions = Nuisances.zeros(len(fold_of), models[0].arms)
    with one_thread():
        for at, frame in covariates.batches():
            for fold, model in enumerate(models):
                here = np.flatnonzero(fold_of[at] == fold)
                for column, values in zip(predictions, model.predict(frame.iloc[here])):
                    column[at.start + here] = values
    return predictions
