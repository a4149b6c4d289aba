"""Hazards of the event and of censoring, pooled over person-periods and cross-fitted with g.

A hazard is the mean of a binary outcome among the rows at risk in a period, so every learner of :mod:`tasks.nuisance.methods` fits it: its
covariates are those of the row and the period's number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64, Int8, Learner, OutcomeModel
from tasks.contract.survival import EventRows, Grid
from tasks.nuisance.plan import Plan
from tasks.numerics.threads import one_thread

#: Columns that person-periods have beyond the covariates.
PERIOD, BAND = "period", "band"
#: Most groups of neighbouring periods that a linear learner gets a level for.
BANDS = 10
#: Person-periods that a hazard is fitted on at most.
MOST = 250_000


class SurvivalNuisances(NamedTuple):
    """Out-of-fold predictions for every row under every arm.

    Attributes
    ----------
    g : ndarray of float64, shape (n, K)
        P(A = k | W), not truncated.
    event, censoring : ndarray of float64, shape (K, n, m)
        Hazards of the event and of censoring in each period.
    other : ndarray of float64, shape (K, n, m), optional
        Hazard of events of other causes, where causes compete; ``event`` is then that of the cause of interest.
    """

    g: Float64
    event: Float64
    censoring: Float64
    other: Float64 | None = None


def cross_fit_hazards(
    plan: Plan,
    learner: Learner,
    rows: EventRows,
    covariates: pd.DataFrame,
    grid: Grid,
    arms: int,
    report: Callable[[str], None] = lambda _: None,
) -> SurvivalNuisances:
    """Fit g and both hazards on each fold's training rows and predict the fold with them; average over repeats.

    Parameters
    ----------
    plan : Plan
        A fold holds whole rows (persons), never single periods of one.
    learner : Learner
    rows : EventRows
        In the order of their keys.
    covariates : DataFrame, n rows
        Canonical covariates.
    grid : Grid
    arms : int
        K.
    report : callable
        Gets a line of text as the work goes on.

    Returns
    -------
    SurvivalNuisances

    Raises
    ------
    EstimationError
        If training rows lack an arm, or events in an arm.
    """
    n, m = len(rows.time), len(grid.edges)
    total, hazards = np.zeros((n, arms)), np.zeros((2 if rows.cause is None else 3, arms, n, m))
    for repeat in range(plan.repeats):
        fold_of = plan.assign(rows.keys, rows.a, rows.event.astype(np.float64), "binary", repeat, rows.clusters)
        for fold in range(plan.folds):
            train = np.flatnonzero(plan.training(rows.keys, fold_of, fold))
            held = np.flatnonzero(fold_of == fold)
            report(f"fitting fold {fold + 1} of {plan.folds} on {len(train):,} rows")
            with one_thread():
                part = _fold(learner, rows.at(train), covariates.iloc[train], covariates.iloc[held], grid, arms, plan.rng(repeat, fold))
            total[held] += part.g
            for sums, predicted in zip(hazards, (part.event, part.censoring, part.other)):
                sums[:, held] += 0.0 if predicted is None else predicted
    hazards /= plan.repeats
    return SurvivalNuisances(total / plan.repeats if rows.propensity is None else rows.propensity, *hazards)


def _fold(
    learner: Learner, rows: EventRows, train: pd.DataFrame, held: pd.DataFrame, grid: Grid, arms: int, rng: np.random.Generator
) -> SurvivalNuisances:
    """Fit on training rows and predict others."""
    train, held = train.reset_index(drop=True), held.reset_index(drop=True)
    if rows.propensity is None:
        g = arm_shares(learner.fit_propensity(train, rows.a, rng, rows.weights).predict(held))
    else:
        g = np.full((len(held), arms), 1.0 / arms)
    hazards = []
    for censoring, cause in ((False, 1), (True, 0), *(() if rows.cause is None else ((False, 2),))):
        model = fit_hazard(learner, rows, train, grid, rng, censoring, cause)
        hazards.append(predict_hazard(model, held, grid, arms))
    return SurvivalNuisances(g, *hazards)


def arm_shares(g: Float64) -> Float64:
    """Return P(A = k | W) of every arm, shape (n, K), from that of arm 1 alone or of all arms."""
    return np.column_stack((1.0 - g, g)) if g.ndim == 1 else g


def fit_hazard(
    learner: Learner, rows: EventRows, covariates: pd.DataFrame, grid: Grid, rng: np.random.Generator, censoring: bool, cause: int = 1
) -> OutcomeModel | None:
    """Fit one hazard on person-periods.

    Of more than :data:`MOST` those that ended with an event are kept, as far as they fill half of it, and a sample of the others, each
    weighted by the inverse of its chance: with c others for each event, errors of a hazard's logit have 1 + 1/c times the variance at
    most (Lubin, Gail 1984, DOI 10.2307/2530744).

    Parameters
    ----------
    learner : Learner
    rows : EventRows
    covariates : DataFrame, n rows
    grid : Grid
    rng : numpy.random.Generator
    censoring : bool
        Whether the hazard is that of censoring.
    cause : int
        Where causes compete: 1 for the hazard of the cause of interest, 2 for that of the others.

    Returns
    -------
    OutcomeModel or None
        None where nothing was censored, or nothing of another cause came, before the horizon: the hazard is 0.

    Raises
    ------
    EstimationError
        If an arm has no event before the horizon.
    """
    periods = grid.counts(rows.time, rows.event, censoring)
    if rows.cause is not None and not censoring:
        periods = periods.of_cause(rows.cause, cause)
    row, period = np.nonzero(periods.risk > 0.0)
    kept, copies = thin(periods.ends[row, period], MOST, rng)
    row, period = row[kept], period[kept]
    ends, risk, a = periods.ends[row, period], periods.risk[row, period] * copies, rows.a[row]
    if not ends.any():
        if censoring or cause == 2:
            return None
        raise EstimationError("events of the training rows must be at least 1 before the horizon; got 0.", "Choose a later horizon.")
    weights = risk if rows.weights is None else risk * rows.weights[row]
    frame = with_period(covariates.iloc[row], period, grid)
    return learner.fit_outcome(frame, a, ends.astype(np.float64), "binary", rng, weights)


def thin(ends: npt.NDArray[np.bool_], most: int, rng: np.random.Generator) -> tuple[npt.NDArray[np.intp], Float64]:
    """Choose person-periods, those with an event first.

    Parameters
    ----------
    ends : ndarray of bool, shape (n,)
        Which ended with an event.
    most : int
        How many are wanted at most.
    rng : numpy.random.Generator
        Not used where all are kept.

    Returns
    -------
    places : ndarray of intp, shape (k,)
        Increasing.
    copies : ndarray of float64, shape (k,)
        How many person-periods of its kind each stands for, at least 1.
    """
    if len(ends) <= most:
        return np.arange(len(ends)), np.ones(len(ends))
    events, others = np.flatnonzero(ends), np.flatnonzero(~ends)
    wanted = max(min(len(events), most // 2), most - len(others))
    kinds = [(events, wanted), (others, most - wanted)]
    kept = np.sort(np.concatenate([places if size == len(places) else rng.choice(places, size, replace=False) for places, size in kinds]))
    shares = [len(places) / max(size, 1) for places, size in kinds]
    return kept, np.where(ends[kept], *shares)


def predict_hazard(model: OutcomeModel | None, covariates: pd.DataFrame, grid: Grid, arms: int, a: Int8 | None = None) -> Float64:
    """Predict a hazard of every row in every period under every arm, or under its own.

    Parameters
    ----------
    model : OutcomeModel or None
        None for a hazard of 0.
    covariates : DataFrame, n rows
    grid : Grid
    arms : int
        K.
    a : ndarray of int8, shape (n,), optional
        Arm of each row: hazards under others are left at 0.

    Returns
    -------
    ndarray of float64, shape (K, n, m)
    """
    hazard = np.zeros((arms, len(covariates), len(grid.edges)))
    if model is None:
        return hazard
    for arm in range(arms):
        if a is None:
            hazard[arm] = _of_arm(model, covariates, grid, arm)
        else:
            rows = np.flatnonzero(a == arm)
            hazard[arm, rows] = _of_arm(model, covariates.iloc[rows], grid, arm)
    return hazard


@runtime_checkable
class ProductModel(Protocol):
    """A model that predicts rows in every period at once."""

    def predict_product(self, rows: pd.DataFrame, others: pd.DataFrame, arm: int) -> Float64:
        """Return predictions of shape (n, m); see :meth:`tasks.nuisance.methods.glm.LinearOutcome.predict_product`."""
        ...


@runtime_checkable
class MixtureModel(Protocol):
    """A model that is a weighted mean of others."""

    members: tuple[OutcomeModel, ...]
    weights: tuple[float, ...]


def _of_arm(model: OutcomeModel, covariates: pd.DataFrame, grid: Grid, arm: int) -> Float64:
    """Predict the hazard of every row under one arm, shape (n, m): period by period, where the model knows no faster way."""
    n, m = len(covariates), len(grid.edges)
    if n == 0:
        return np.zeros((n, m))
    if isinstance(model, MixtureModel):
        parts = [w * _of_arm(member, covariates, grid, arm) for member, w in zip(model.members, model.weights)]
        return np.asarray(np.sum(parts, axis=0), dtype=np.float64)
    if isinstance(model, ProductModel):
        first = covariates.iloc[np.zeros(m, dtype=np.intp)]
        periods = with_period(first, np.arange(m), grid)
        return model.predict_product(with_period(covariates, np.zeros(n, dtype=np.intp), grid), periods, arm)
    treatment = np.full(n, arm, dtype=np.int8)
    frames = (with_period(covariates, np.full(n, period), grid) for period in range(m))
    return np.column_stack([model.predict(frame, treatment) for frame in frames])


def with_period(covariates: pd.DataFrame, period: np.ndarray[tuple[int, ...], np.dtype[np.intp]], grid: Grid) -> pd.DataFrame:
    """Return covariates of person-periods: those of the row, the period's number, and the band of neighbouring periods it lies in."""
    m = len(grid.edges)
    bands = min(m, BANDS)
    names = pd.Index([f"{number:02d}" for number in range(bands)])
    band = pd.Categorical.from_codes((period * bands // m).astype(np.int64), categories=names)
    frame = covariates.reset_index(drop=True)
    frame[PERIOD], frame[BAND] = period.astype(np.float64), band
    return frame
