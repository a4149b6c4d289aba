"""g and the hazards of a time to event as one fold's training rows give them, and what estimators of means see of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.contract.columns import cause_name
from tasks.contract.nuisance import Float64, Int8, Learner, Nuisances, OutcomeModel, PropensityModel
from tasks.contract.rng import UInt64
from tasks.contract.survival import EventRows, Periods, TimesToEvent
from tasks.nuisance.bounds import require_arms
from tasks.nuisance.causes import cause_shares, fit_splits, predict_splits
from tasks.nuisance.curve_sums import BLOCK, CurveSums, curve_sums
from tasks.nuisance.fold_model import KnownPropensity
from tasks.nuisance.hazards import arm_shares, fit_hazard, predict_hazard
from tasks.nuisance.plan import Plan
from tasks.numerics.threads import one_thread
from tasks.targeting.causes import CauseData, cause_outcomes, curves_of, incidence_influence
from tasks.targeting.survival import EDGE, ArmData, curve_influence, pseudo_outcomes, survival, uncensored


class Hazards(NamedTuple):
    """Hazards of n rows under every arm in every period.

    Attributes
    ----------
    event, censoring : ndarray of float64, shape (K, n, m)
    splits : ndarray of float64, shape (J - 1, K, n, m)
        Nested chances of the causes of an event: :mod:`tasks.nuisance.causes`; of shape (0, K, n, m) where events have one cause.
    """

    event: Float64
    censoring: Float64
    splits: Float64


@dataclass(frozen=True)
class TimesFoldModel:
    """g and both hazards as fitted on the training rows of one fold; Q of an arm is its restricted mean.

    Attributes
    ----------
    propensity : PropensityModel
    event : OutcomeModel
    censoring : OutcomeModel or None
        None where nothing was censored.
    outcome : TimesToEvent
        Periods, horizon and times.
    rows : int
        Training rows.
    arms : int
        K.
    splits : tuple of J - 1 OutcomeModel
        Nested chances of competing causes.
    """

    propensity: PropensityModel
    event: OutcomeModel
    censoring: OutcomeModel | None
    outcome: TimesToEvent
    rows: int
    arms: int = 2
    splits: tuple[OutcomeModel, ...] = ()

    def predict(self, covariates: pd.DataFrame) -> Nuisances:
        """Return g and the restricted mean of every arm, each of shape (n,)."""
        mean = self.outcome.functionals[0]
        parts = []
        for start in range(0, max(len(covariates), 1), BLOCK):
            block = covariates.iloc[start : start + BLOCK]
            hazard = predict_hazard(self.event, block, self.outcome.grid, self.arms)
            parts.append(Nuisances(*self.propensities(block), *(mean.value(survival(each)) for each in _inside(hazard))))
        return Nuisances(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    def propensities(self, covariates: pd.DataFrame) -> Sequence[Float64]:
        """Return P(A = k | W) of the arms beside the control, each of shape (n,)."""
        return list(arm_shares(self.propensity.predict(covariates)).T[1:])

    def hazards(self, covariates: pd.DataFrame, a: Int8 | None = None) -> Hazards:
        """Return both hazards, and the chances of causes, of some rows, not targeted.

        Given arms, that of censoring is found under each row's own one alone and is 0 under the others: one-step estimates look at no
        other, targeting does. With an arm of -1 it is not found at all.
        """
        with one_thread():
            grid = self.outcome.grid
            event = _inside(predict_hazard(self.event, covariates, grid, self.arms))
            censoring = predict_hazard(self.censoring, covariates, grid, self.arms, a)
            return Hazards(event, censoring, predict_splits(self.splits, covariates, grid, self.arms))


def averaged_times(models: Sequence[TimesFoldModel], covariates: pd.DataFrame) -> Nuisances:
    """Return the means over fold models of g and of the restricted means, each of shape (n,)."""
    return Nuisances(*(np.mean(each, axis=0) for each in zip(*(model.predict(covariates) for model in models), strict=True)))


def _inside(hazard: Float64) -> Float64:
    return np.clip(hazard, EDGE, 1.0 - EDGE)


def fit_times_fold(
    learner: Learner,
    covariates: pd.DataFrame,
    rows: EventRows,
    outcome: TimesToEvent,
    arms: int,
    rng: np.random.Generator,
    given: float | tuple[float, ...] | None = None,
) -> TimesFoldModel:
    """Fit g and both hazards on the training rows of one fold: one unit of parallel work.

    Parameters
    ----------
    learner : Learner
    covariates : DataFrame, n rows
        Canonical.
    rows : EventRows
        Of the same rows; put in the order of their keys first.
    outcome : TimesToEvent
    arms : int
        K.
    rng : numpy.random.Generator
    given : float or tuple of float, optional
        Known P(A = 1), or shares of K arms: g is then not fitted.

    Raises
    ------
    EstimationError
        If an arm has fewer than two training rows, or there is no event, or none of a cause.
    """
    order = np.argsort(rows.keys, kind="stable")
    if rows.weights is not None:
        order = order[rows.weights[order] > 0.0]
    rows, frame = rows.at(order), covariates.iloc[order].reset_index(drop=True)
    require_arms(rows.a, arms)
    with one_thread():
        propensity = KnownPropensity(given) if given is not None else learner.fit_propensity(frame, rows.a, rng, rows.weights)
        event, censoring = (fit_hazard(learner, rows, frame, outcome.grid, rng, which) for which in (False, True))
        assert event is not None  # without an event fitting raises
        splits = fit_splits(learner, rows, frame, outcome.grid, len(outcome.causes), arms, rng)
    return TimesFoldModel(propensity, event, censoring, outcome, len(order), arms, splits)


class CauseOutcomes(NamedTuple):
    """What estimators of means see of one of several causes, of n rows.

    Attributes
    ----------
    values : ndarray of float64, shape (P, K, n)
        Time lost to the cause, then F at each time, under every arm.
    outcomes : ndarray of float64, shape (P, n)
        Pseudo-outcomes of each row's own arm: :func:`tasks.targeting.causes.cause_outcomes`.
    """

    values: Float64
    outcomes: Float64


class TimesPredictions(NamedTuple):
    """What estimators of means see of rows with a time to event; arrays of n rows.

    Attributes
    ----------
    nuisances : Nuisances
        g and the restricted mean of every arm.
    values : ndarray of float64, shape (P, K, n)
        Of each functional (the restricted mean first) its value under every arm.
    outcomes : ndarray of float64, shape (P, n)
        Pseudo-outcomes of each row's own arm: :func:`tasks.targeting.survival.pseudo_outcomes`.
    curves : CurveSums
        Of the curves of every arm, shape (K, m); with competing causes followed by the incidences of the first cause, of the second, ...:
        shape (K + J K, m).
    causes : tuple of J CauseOutcomes
        Where causes compete.
    lost : ndarray of float64, shape (n,), optional
        Of rows in clusters: censorings less what the hazards of censoring expected of the time at risk.
    """

    nuisances: Nuisances
    values: Float64
    outcomes: Float64
    curves: CurveSums
    causes: tuple[CauseOutcomes, ...] = ()
    lost: Float64 | None = None

    def columns(self) -> dict[str, Float64]:
        """Return them as columns of a table: g and q by name, ``outcome``, and of the p-th time ``z{p}`` and ``s{p}_{arm}``; ``lost``.

        Of cause j the same of the time lost (p = 0) and F at the p-th time: ``u{j}_{p}`` and ``f{j}_{p}_{arm}``.
        """
        named = {**self.nuisances._asdict(), "outcome": self.outcomes[0]}
        if self.lost is not None:
            named["lost"] = self.lost
        for at in range(1, len(self.values)):
            named[f"z{at}"] = self.outcomes[at]
            named |= {f"s{at}_{arm}": values for arm, values in enumerate(self.values[at])}
        for cause, of_cause in enumerate(self.causes, start=1):
            for at, values in enumerate(of_cause.values):
                named[f"u{cause}_{at}"] = of_cause.outcomes[at]
                named |= {cause_name(cause, at, arm): each for arm, each in enumerate(values)}
        return named


class Counts(NamedTuple):
    """What came of n rows.

    Attributes
    ----------
    periods : Periods
        Counts of events, shape (n, m).
    causes : ndarray of int8, shape (n,), optional
        Where causes compete: 1, ..., J, 0 of none.
    """

    periods: Periods
    causes: Int8 | None = None


class Watched(NamedTuple):
    """Rows in clusters, whole ones.

    Attributes
    ----------
    clusters : ndarray of uint64, shape (n,)
        Hash of each row's cluster.
    censorings : Periods
        Counts of censorings, shape (n, m).
    """

    clusters: UInt64
    censorings: Periods


def predict_times(
    model: TimesFoldModel, covariates: pd.DataFrame, a: Int8, counts: Counts, bound: float, w: Float64, watched: Watched | None = None
) -> TimesPredictions:
    """Predict rows that the model has not seen, and turn their times into outcomes without censoring.

    Parameters
    ----------
    model : TimesFoldModel
    covariates : DataFrame, n rows
    a : ndarray of int8, shape (n,)
    counts : Counts
        Of the same rows.
    bound : float
        Propensities, and propensities times the chance to be uncensored, are kept at least so large.
    w : ndarray of float64, shape (n,)
        Row weights.
    watched : Watched, optional
        Where rows come in clusters.
    """
    functionals, of_cause = model.outcome.functionals, model.outcome.of_cause
    given = model.propensities(covariates)
    shares = (1.0 - np.sum(given, axis=0), *given)
    hazards, n = model.hazards(covariates, a), len(a)
    values, outcomes = np.empty((len(functionals), model.arms, n)), np.empty((len(functionals), n))
    sums, clusters, lost = [], None if watched is None else watched.clusters, None
    causes = [CauseOutcomes(np.empty_like(values), np.empty_like(outcomes)) for _ in model.outcome.causes]
    incidences: list[list[CurveSums]] = [[] for _ in causes]
    for arm, share in enumerate(shares):
        held, here = np.maximum(share, bound), a == arm
        kept = uncensored(hazards.censoring[arm], held, bound)
        data = ArmData(here, counts.periods, held, hazards.event[arm], kept, np.ones(n))
        survivors = survival(data.hazard)
        for at, functional in enumerate(functionals):
            values[at, arm] = functional.value(survivors)
        outcomes[:, here] = pseudo_outcomes(data, functionals)[here].T
        sums.append(curve_sums(curve_influence(data, survivors, data.hazard), w, clusters))
        of_events = cause_shares(hazards.splits[:, arm])
        for number, each in enumerate(causes, start=1):
            of_one = data_of_cause(data, counts, number, of_events[number - 1])
            curves = curves_of(of_one.hazards)
            each.values[:, arm] = [functional.value(curves.incidence) for functional in of_cause]
            each.outcomes[:, here] = cause_outcomes(of_one, curves, of_cause)[here].T
            incidences[number - 1].append(curve_sums(incidence_influence(of_one, curves, of_one.hazards), w, clusters))
    if watched is not None:
        lost = residuals(hazards.censoring[a, np.arange(n)], watched.censorings)
    every = [*sums, *(each for of_one in incidences for each in of_one)]
    whole = CurveSums(*(np.stack(each) for each in zip(*every, strict=True)))
    return TimesPredictions(Nuisances(*given, *values[0]), values, outcomes, whole, tuple(causes), lost)


def data_of_cause(data: ArmData, counts: Counts, cause: int, share: Float64) -> CauseData:
    """Return what one arm's incidence of a cause is estimated from.

    Parameters
    ----------
    data : ArmData
        Of events of every cause.
    counts : Counts
    cause : int
        From 1.
    share : ndarray of float64, shape (n, m)
        Chance that an event is of the cause.
    """
    assert counts.causes is not None  # causes compete
    of_one = counts.periods.of_cause(counts.causes, cause)
    hazards = np.stack((data.hazard * share, data.hazard * (1.0 - share)))
    return CauseData(data.here, (of_one, counts.periods._replace(ends=counts.periods.ends & ~of_one.ends)), data.share, hazards, *data[4:])


def residuals(hazard: Float64, periods: Periods) -> Float64:
    """Return what came less what hazards of shape (n, m) expected of the time at risk, shape (n,): martingale residuals."""
    return np.asarray(np.sum(periods.ends - periods.risk * hazard, axis=1), dtype=np.float64)


def cross_fit_times(
    plan: Plan, learner: Learner, rows: EventRows, covariates: pd.DataFrame, outcome: TimesToEvent, arms: int, bound: float
) -> TimesPredictions:
    """Fit g and hazards on each fold's training rows and predict the fold with them, for a table in memory and one repeat.

    Parameters
    ----------
    plan : Plan
        Its folds and randomness; further repeats are not made.
    learner : Learner
    rows : EventRows
    covariates : DataFrame, n rows
    outcome : TimesToEvent
    arms : int
        K.
    bound : float
        As in :func:`predict_times`.

    Raises
    ------
    EstimationError
        If training rows lack an arm, or events.
    """
    fold_of = plan.assign(rows.keys, rows.a, rows.event.astype(np.float64), "binary", 0)
    w = np.ones(len(rows.time)) if rows.weights is None else rows.weights
    places, parts = [], []
    for fold in range(plan.folds):
        train, held = np.flatnonzero(plan.training(rows.keys, fold_of, fold)), np.flatnonzero(fold_of == fold)
        model = fit_times_fold(learner, covariates.iloc[train], rows.at(train), outcome, arms, plan.rng(0, fold))
        counts = Counts(outcome.grid.counts(rows.time, rows.event, at=held), None if rows.cause is None else rows.cause[held])
        parts.append(predict_times(model, covariates.iloc[held], rows.a[held], counts, bound, w[held]))
        places.append(held)
    order = np.argsort(np.concatenate(places), kind="stable")
    sums = parts[0].curves
    for part in parts[1:]:
        sums = sums.plus(part.curves)
    return TimesPredictions(
        Nuisances(*(np.concatenate(each)[order] for each in zip(*(part.nuisances for part in parts), strict=True))),
        np.concatenate([part.values for part in parts], axis=2)[:, :, order],
        np.concatenate([part.outcomes for part in parts], axis=1)[:, order],
        sums,
        tuple(_joined(each, order) for each in zip(*(part.causes for part in parts), strict=True)),
    )


def _joined(parts: Sequence[CauseOutcomes], order: npt.NDArray[np.intp]) -> CauseOutcomes:
    """Put the rows of several folds together."""
    values = np.concatenate([part.values for part in parts], axis=2)[:, :, order]
    return CauseOutcomes(values, np.concatenate([part.outcomes for part in parts], axis=1)[:, order])
