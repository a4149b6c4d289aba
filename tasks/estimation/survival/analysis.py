"""Survival probabilities and restricted means of every arm of a table, and their contrasts with the control arm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from tasks.contract.nuisance import Float64, Learner
from tasks.contract.registry import resolve
from tasks.contract.survival import Grid, event_grid, incidence_at, restricted_mean, survival_at, time_lost
from tasks.estimation.incidence.protocol import CauseCase
from tasks.estimation.survival.comparison import Comparison, compare_hazards
from tasks.estimation.survival.estimates import ArmCurve, SurvivalEstimate, arm_curve, curve_estimates
from tasks.estimation.survival.protocol import ArmCase
from tasks.estimation.survival.table import SurvivalTable
from tasks.nuisance.hazards import SurvivalNuisances, cross_fit_hazards
from tasks.nuisance.plan import SOURCE, Plan
from tasks.targeting.causes import CauseData, bounded
from tasks.targeting.fluctuation import truncation_bound
from tasks.targeting.survival import EDGE, ArmData, uncensored

ESTIMATORS = ("km", "ipcw", "aipw", "tmle")
#: The same where causes compete.
CAUSE_ESTIMATORS = ("aj", "ipcw", "aipw", "tmle")
UNADJUSTED = frozenset({"km", "aj"})
#: Most periods of the grid, declared times aside.
PERIODS = 30

Report = Callable[[str], None]


class SurvivalAnalysis(NamedTuple):
    """What ``waymint estimate`` reports of a time to event.

    Attributes
    ----------
    estimates : list of SurvivalEstimate
    curves : list of ArmCurve
    comparison : Comparison
        Log-rank tests and hazard ratios; where causes compete, of the hazard of the cause of interest.
    horizon : float
        Time that means are restricted to.
    causes : bool
        Whether causes compete: curves are then incidences.
    bound : float
        Propensities, and propensities times the chance to be uncensored, were kept at least so large.
    unsolved : float
        Largest mean of an influence function that targeting left, in standard errors.
    rows : int
        Rows that the nuisances were fitted on.
    """

    estimates: list[SurvivalEstimate]
    curves: list[ArmCurve]
    comparison: Comparison
    horizon: float
    causes: bool
    bound: float
    unsolved: float
    rows: int


def analyse_survival(
    table: SurvivalTable,
    horizon: float | None = None,
    times: Sequence[float] = (),
    estimators: Sequence[str] | None = None,
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
    estimators : sequence of str, optional
        Files of ``methods``, of :mod:`tasks.estimation.incidence` where causes compete; all four where left out.
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
    rows = table.rows
    kind, every = ("survival", ESTIMATORS) if rows.cause is None else ("incidence", CAUSE_ESTIMATORS)
    methods: dict[str, Any] = {name: resolve(kind, name) for name in dict.fromkeys(estimators or every)}
    adjusted = any(name not in UNADJUSTED for name in methods)
    grid = event_grid(rows.time, rows.event, end, tuple(times), periods)
    counted = rows.event if rows.cause is None else rows.cause == 1
    at, area = (survival_at, restricted_mean) if rows.cause is None else (incidence_at, time_lost)
    functionals = [*(at(grid, time) for time in sorted(set(times))), area(grid, grid.centres(rows.time, counted, rows.weights))]
    fitter: Learner = resolve("learner", learner) if isinstance(learner, str) else learner
    plan = Plan(SOURCE, seed, folds, repeats)
    nuisances = cross_fit_hazards(plan, fitter, rows, table.covariates, grid, len(table.arms), report) if adjusted else None
    bound = truncation_bound(len(rows.time), truncation)
    cases = _cases(table, grid, nuisances, bound) if rows.cause is None else _cause_cases(table, grid, nuisances, bound)
    estimates: list[SurvivalEstimate] = []
    curves: list[ArmCurve] = []
    unsolved = 0.0
    for name, method in methods.items():
        report(f"evaluating {name}")
        fits = [method.estimate(case, functionals) for case in cases]
        unsolved = max(unsolved, *(fit.residual for fit in fits))
        estimates += curve_estimates(name, table, cases, fits, functionals, bound)
        curves += [arm_curve(name, table, grid, arm, fit) for arm, fit in enumerate(fits)]
    comparison = compare_hazards(table.arm_rows, table.arms)
    return SurvivalAnalysis(estimates, curves, comparison, end, rows.cause is not None, bound, unsolved, len(rows.time))


def _cases(table: SurvivalTable, grid: Grid, nuisances: SurvivalNuisances | None, bound: float) -> Sequence[ArmCase]:
    rows, periods, w = table.rows, grid.counts(table.rows.time, table.rows.event), _weights(table)
    cases = []
    for arm in range(len(table.arms)):
        share, kept = _chances(nuisances, arm, periods.risk, bound)
        hazard = np.zeros_like(periods.risk) if nuisances is None else np.clip(nuisances.event[arm], EDGE, 1.0 - EDGE)
        cases.append(ArmCase(rows.time, rows.event, grid, ArmData(rows.a == arm, periods, share, hazard, kept, w)))
    return cases


def _cause_cases(table: SurvivalTable, grid: Grid, nuisances: SurvivalNuisances | None, bound: float) -> Sequence[CauseCase]:
    rows, periods, w = table.rows, grid.counts(table.rows.time, table.rows.event), _weights(table)
    assert rows.cause is not None  # the caller looked
    both = (periods.of_cause(rows.cause, 1), periods.of_cause(rows.cause, 2))
    cases = []
    for arm in range(len(table.arms)):
        share, kept = _chances(nuisances, arm, periods.risk, bound)
        hazards = np.zeros((2, *periods.risk.shape))
        if nuisances is not None and nuisances.other is not None:
            hazards = bounded(np.stack((nuisances.event[arm], nuisances.other[arm])))
        cases.append(CauseCase(rows.time, rows.cause, grid, CauseData(rows.a == arm, both, share, hazards, kept, w)))
    return cases


def _weights(table: SurvivalTable) -> Float64:
    """Return row weights of mean 1."""
    weights, n = table.rows.weights, len(table.rows.time)
    return np.ones(n) if weights is None else np.asarray(weights * (n / weights.sum()))


def _chances(nuisances: SurvivalNuisances | None, arm: int, risk: Float64, bound: float) -> tuple[Float64, Float64]:
    """Return g and G of an arm, truncated; 1 where nothing is fitted."""
    if nuisances is None:
        return np.ones(len(risk)), np.ones_like(risk)
    share = np.maximum(nuisances.g[:, arm], bound)
    return share, uncensored(nuisances.censoring[arm], share, bound)
