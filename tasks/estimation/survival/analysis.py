"""Survival probabilities and restricted means of every arm of a table, and their contrasts with the control arm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, cast

import numpy as np

from tasks.contract.nuisance import Learner
from tasks.contract.registry import resolve
from tasks.contract.survival import Grid, event_grid, restricted_mean, survival_at
from tasks.estimation.survival.estimates import ArmCurve, SurvivalEstimate, arm_curve, curve_estimates
from tasks.estimation.survival.protocol import ArmCase, CurveEstimator
from tasks.estimation.survival.table import SurvivalTable
from tasks.nuisance.hazards import SurvivalNuisances, cross_fit_hazards
from tasks.nuisance.plan import SOURCE, Plan
from tasks.targeting.fluctuation import truncation_bound
from tasks.targeting.survival import EDGE, ArmData, uncensored

ESTIMATORS = ("km", "ipcw", "aipw", "tmle")
#: Most periods of the grid, declared times aside.
PERIODS = 30

Report = Callable[[str], None]


class SurvivalAnalysis(NamedTuple):
    """What ``waymint estimate`` reports of a time to event.

    Attributes
    ----------
    estimates : list of SurvivalEstimate
    curves : list of ArmCurve
    horizon : float
        Time that means are restricted to.
    bound : float
        Propensities, and propensities times the chance to be uncensored, were kept at least so large.
    unsolved : float
        Largest mean of an influence function that targeting left, in standard errors.
    rows : int
        Rows that the nuisances were fitted on.
    """

    estimates: list[SurvivalEstimate]
    curves: list[ArmCurve]
    horizon: float
    bound: float
    unsolved: float
    rows: int


def analyse_survival(
    table: SurvivalTable,
    horizon: float | None = None,
    times: Sequence[float] = (),
    estimators: Sequence[str] = ESTIMATORS,
    seed: int = 0,
    learner: str | Learner = "glm",
    folds: int = 5,
    repeats: int = 1,
    truncation: Literal["auto"] | float = "auto",
    periods: int = PERIODS,
    report: Report = lambda _: None,
) -> SurvivalAnalysis:
    """Cross-fit g and the hazards once, evaluate every estimator.

    Parameters
    ----------
    table : SurvivalTable
    horizon : float, optional
        Time that means are restricted to; by default the largest usable one (:meth:`SurvivalTable.largest_horizon`).
    times : sequence of float
        Times in (0, horizon] whose survival probabilities are estimated.
    estimators : sequence of str
        Files of ``methods``.
    seed, folds, repeats, truncation
        As in :func:`tasks.estimation.analysis.analyse`.
    learner : str or Learner
        Fits g and, on person-periods, both hazards.
    periods : int
        Most periods of the grid, in [2, 200].
    report : callable
        Gets a line of text as the work goes on.

    Returns
    -------
    SurvivalAnalysis

    Raises
    ------
    SpecError
        If the horizon, a time or an estimator is not valid.
    EstimationError
        If the table can't answer.
    """
    end = horizon if horizon is not None else table.largest_horizon()
    table.require_horizon(end, times)
    methods = {name: cast("CurveEstimator", resolve("survival", name)) for name in dict.fromkeys(estimators)}
    adjusted = any(name != "km" for name in methods)
    rows = table.rows
    grid = event_grid(rows.time, rows.event, end, tuple(times), periods)
    functionals = [
        *(survival_at(grid, time) for time in sorted(set(times))),
        restricted_mean(grid, grid.centres(rows.time, rows.event, rows.weights)),
    ]
    fitter: Learner = resolve("learner", learner) if isinstance(learner, str) else learner
    plan = Plan(SOURCE, seed, folds, repeats)
    nuisances = cross_fit_hazards(plan, fitter, rows, table.covariates, grid, len(table.arms), report) if adjusted else None
    bound = truncation_bound(len(rows.time), truncation)
    cases = _cases(table, grid, nuisances, bound)
    estimates: list[SurvivalEstimate] = []
    curves: list[ArmCurve] = []
    unsolved = 0.0
    for name, method in methods.items():
        report(f"evaluating {name}")
        fits = [method.estimate(case, functionals) for case in cases]
        unsolved = max(unsolved, *(fit.residual for fit in fits))
        estimates += curve_estimates(name, table, cases, fits, functionals, bound)
        curves += [arm_curve(name, table, grid, arm, fit) for arm, fit in enumerate(fits)]
    return SurvivalAnalysis(estimates, curves, end, bound, unsolved, len(rows.time))


def _cases(table: SurvivalTable, grid: Grid, nuisances: SurvivalNuisances | None, bound: float) -> list[ArmCase]:
    rows, n = table.rows, len(table.rows.time)
    periods = grid.counts(rows.time, rows.event)
    w = np.ones(n) if rows.weights is None else rows.weights * (n / rows.weights.sum())
    cases = []
    for arm in range(len(table.arms)):
        if nuisances is None:
            share, hazard, kept = np.ones(n), np.zeros_like(periods.risk), np.ones_like(periods.risk)
        else:
            share = np.maximum(nuisances.g[:, arm], bound)
            hazard = np.clip(nuisances.event[arm], EDGE, 1.0 - EDGE)
            kept = uncensored(nuisances.censoring[arm], share, bound)
        cases.append(ArmCase(rows.time, rows.event, grid, ArmData(rows.a == arm, periods, share, hazard, kept, w)))
    return cases
