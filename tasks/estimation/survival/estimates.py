"""Numbers of curves with their intervals: of single arms, and against the control arm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.contract.nuisance import Float64
from tasks.contract.survival import Functional, Grid
from tasks.estimation.incidence.protocol import CauseCase
from tasks.estimation.joint import joint_quantile
from tasks.estimation.survival.numbers import Number, families_of
from tasks.estimation.survival.protocol import ArmCase
from tasks.estimation.survival.table import SurvivalTable
from tasks.targeting.causes import CauseData
from tasks.targeting.influence import effective_size, error_of
from tasks.targeting.survival import ArmData, CurveEstimate


class SurvivalEstimate(NamedTuple):
    """One number of an arm's curve, or of its contrast with the control arm.

    Attributes
    ----------
    estimand : str
        ``"survival"`` S(time); ``"risk_difference"`` (1 - S(time)) of the arm less that of the control; ``"rmst"``, the mean survival
        time restricted to ``time``; ``"rmst_difference"``. Of one of several causes ``"incidence"`` F(time), ``"incidence_difference"``,
        ``"time_lost"`` up to ``time``, ``"time_lost_difference"``.
    estimator : str
        ``"km"`` or ``"aj"``, ``"ipcw"``, ``"aipw"``, ``"tmle"``.
    arm : str
        Label.
    control : str or None
        Label of the control arm; None where the number is one arm's.
    time : float
        In the source's unit.
    estimate, se, ci_low, ci_high : float
        A probability, or a time in the source's unit; the interval is two-sided at 95 %.
    joint_low, joint_high : float
        Interval that holds for all contrasts of the estimator at once, or for all numbers of single arms.
    n : int
        Rows used.
    ess : float
        Effective sample size of the arm's weights 1 / g; for a contrast the smaller of the two.
    clipped : float
        Share of rows whose propensity of the arm was truncated, in [0, 1].
    """

    estimand: str
    estimator: str
    arm: str
    control: str | None
    time: float
    estimate: float
    se: float
    ci_low: float
    ci_high: float
    joint_low: float
    joint_high: float
    n: int
    ess: float
    clipped: float


class ArmCurve(NamedTuple):
    """One estimator's curve of one arm on the grid, S or the incidence F; arrays of shape (m,).

    ``se`` are pointwise standard errors; ``low`` and ``high`` are the band that holds the whole curve on the grid in 95 % of samples.
    """

    arm: str
    estimator: str
    times: Float64
    curve: Float64
    se: Float64
    low: Float64
    high: Float64
    at_risk: npt.NDArray[np.intp]


def curve_estimates(
    name: str,
    table: SurvivalTable,
    cases: Sequence[ArmCase] | Sequence[CauseCase],
    fits: Sequence[CurveEstimate],
    functionals: Sequence[Functional],
    bound: float,
) -> list[SurvivalEstimate]:
    """Return one estimator's numbers: of each arm, then of each pair of arms, those against the control first."""
    of_arms = [
        [
            Number(functional.estimand, arm, None, functional.time, float(fit.points[at]), fit.values[:, at])
            for at, functional in enumerate(functionals)
        ]
        for arm, fit in enumerate(fits)
    ]
    of_arm = [(effective_size(case.data.weights * case.data.here / case.data.share), _clipped(case.data, bound)) for case in cases]
    return [one for family in families_of(of_arms) for one in _intervals(name, table, family, of_arm)]


def _intervals(name: str, table: SurvivalTable, family: Sequence[Number], of_arm: Sequence[tuple[float, float]]) -> list[SurvivalEstimate]:
    rows, n = table.rows, len(table.rows.time)
    w = np.ones(n) if rows.weights is None else rows.weights
    errors = [error_of(number.values, w, rows.clusters) for number in family]
    width = joint_quantile(np.column_stack([number.values for number in family]), w, rows.clusters)
    results = []
    for number, (se, quantile) in zip(family, errors):
        reach, band = quantile * se, max(width, quantile) * se
        arms = [number.arm] if number.control is None else [number.arm, number.control]
        low, high = number.limits
        limits = (max(low, number.point - reach), min(high, number.point + reach))
        bands = (max(low, number.point - band), min(high, number.point + band))
        control = None if number.control is None else table.arms[number.control]
        ess, clipped = min(of_arm[arm][0] for arm in arms), max(of_arm[arm][1] for arm in arms)
        of = (number.estimand, name, table.arms[number.arm], control, number.time)
        results.append(SurvivalEstimate(*of, number.point, se, *limits, *bands, n, ess, 0.0 if name in ("km", "aj") else clipped))
    return results


def _clipped(data: ArmData | CauseData, bound: float) -> float:
    return float(data.mean((data.share <= bound).astype(np.float64)))


def arm_curve(name: str, table: SurvivalTable, grid: Grid, arm: int, fit: CurveEstimate) -> ArmCurve:
    """Return one estimator's curve of one arm with its standard errors, its simultaneous band and the rows at risk."""
    rows = table.rows
    w = np.ones(len(rows.time)) if rows.weights is None else rows.weights
    errors = np.array([error_of(values, w, rows.clusters) for values in fit.curve_values.T])
    se, width = errors[:, 0], max(joint_quantile(fit.curve_values, w, rows.clusters), float(errors[:, 1].max()))
    edges = np.array(grid.edges)
    ordered = np.sort(rows.time[rows.a == arm])
    at_risk = len(ordered) - np.searchsorted(ordered, edges, side="left")
    low, high = (np.clip(fit.curve + side * width * se, 0.0, 1.0) for side in (-1.0, 1.0))
    return ArmCurve(table.arms[arm], name, edges, fit.curve, se, low, high, at_risk)
