"""Whether the source's own outcomes agree with the model that added rows get theirs from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import f as fisher

from tasks.augmentation.ensemble import Ensemble
from tasks.contract.nuisance import Float64, Int8

#: Chance of seeing a disagreement where there is none: above it the two tables are taken to agree.
CHANCE = 0.05
_EDGE = 1e-6
_RIDGE = 1e-3
_STEP = 1e-4


class Recalibration(NamedTuple):
    """A model's predictions put right by the source's outcomes: x -> intercept of the arm + slope x.

    Attributes
    ----------
    coefficients : ndarray of float64, shape (K + 1,)
        Intercepts of the arms, slope; (0, ..., 0, 1) is full agreement.
    covariance, robust : ndarray of float64, shape (K + 1, K + 1)
        As the model has it, and by the sandwich.
    chance : float
        Probability of outcomes that disagree at least as much with the predictions where these are right, up to their own error.
    logistic : bool
        Whether x is the logit of the prediction (binary outcomes) or the prediction itself.
    """

    coefficients: Float64
    covariance: Float64
    robust: Float64
    chance: float
    logistic: bool

    def apply(self, q: Float64, arm: int, coefficients: Float64 | None = None) -> Float64:
        """Return predictions of one arm put right, shape (n,)."""
        theta = self.coefficients if coefficients is None else coefficients
        moved = theta[arm] + theta[-1] * _link(q, self.logistic)
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(moved, -700.0, 700.0))) if self.logistic else moved, dtype=np.float64)


def recalibrate(a: Int8, y: Float64, given: Ensemble, kind: str) -> Recalibration:
    """Fit the recalibration on the source's rows: logistic for binary outcomes, linear else.

    Cox (1958), DOI 10.1093/biomet/45.3-4.562, with an intercept for each arm: an effect that differs shows there, as a confounded
    source does; outcomes with noise in their labels show in the slope, which rows of all arms and of all predictions inform.
    Whether they disagree is judged on all of them at once, by the score at agreement, D'(Y - Q), whose variance is that of the
    outcomes and of the predictions' draws (Rao 1948, DOI 10.1017/S0305004100023987): few rows of an arm don't mislead it.

    Parameters
    ----------
    a : ndarray of int8, shape (n,)
        Treatment of the source's rows; K and more where the outcome is missing.
    y : ndarray of float64, shape (n,)
        Their outcomes.
    given : Ensemble
        The other table's predictions for them.
    kind : {"binary", "continuous", "count"}
        Kind of the outcome.
    """
    rows = a < len(given)
    if not rows.all():
        return recalibrate(a[rows], y[rows], Ensemble(*(draws[:, rows] for draws in given)), kind)
    logistic = kind == "binary"
    x = _link(Ensemble(*given.mean).of(a), logistic)
    design = np.column_stack((*(a == arm for arm in range(len(given))), x)).astype(np.float64)
    agreement = np.append(np.zeros(len(given)), 1.0)
    at = agreement.copy()
    scale = 1.0 if logistic else max(float(np.var(y)), 1e-300)
    for _ in range(60):
        mean = design @ at
        if logistic:
            mean = 1.0 / (1.0 + np.exp(-np.clip(mean, -700.0, 700.0)))
        weight = mean * (1.0 - mean) if logistic else np.full(len(y), 1.0 / scale)
        # a weak ridge towards agreement: it matters only where an arm has no information
        bread = (design * weight[:, None]).T @ design + _RIDGE * np.eye(len(at))
        score = design.T @ ((y - mean) / scale) - _RIDGE * (at - agreement)
        step = np.linalg.solve(bread, score)
        at = at + step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12)) if logistic else at + step
        if float(np.abs(step).max()) < 1e-10:
            break
    scores = design * ((y - mean) / scale)[:, None]
    inverse = np.linalg.inv(bread)
    chance = _chance(a, y, design, mean, given, logistic)
    return Recalibration(at, inverse, inverse @ (scores.T @ scores) @ inverse, chance, logistic)


def _chance(a: Int8, y: Float64, design: Float64, fitted: Float64, given: Ensemble, logistic: bool) -> float:
    """Return the p-value of the score test of agreement; ``fitted`` are the recalibrated means."""
    predicted, terms = given.of(a), len(given) + 1
    q = np.clip(predicted.mean(axis=0), _EDGE, 1.0 - _EDGE) if logistic else predicted.mean(axis=0)
    variance = q * (1.0 - q) if logistic else np.array([np.mean((y - fitted)[a == arm] ** 2) for arm in range(len(given))])[a]
    score = design.T @ (y - q)
    spread = (design * variance[:, None]).T @ design + np.cov(predicted @ design, rowvar=False)
    # predictions that are all alike have no slope to be tested
    scale = np.sqrt(np.diag(spread))
    unit = spread / np.outer(scale, scale) + 1e-9 * np.eye(terms)
    statistic = float((score / scale) @ np.linalg.solve(unit, score / scale))
    return float(fisher.sf(statistic / terms, terms, max(len(y) - terms, 1)))


class Conflict(NamedTuple):
    """By how much the effect would change if borrowed predictions were put right by the source's outcomes.

    Attributes
    ----------
    change, se : float
        In units of the outcome.
    chance : float
        Of :class:`Recalibration`.
    """

    change: float
    se: float
    chance: float

    @property
    def squared(self) -> float:
        """Squared error that borrowing is charged with: 0 where chance explains the disagreement; else what is to be expected of it.

        Of a change that is there, but whose size is known up to its standard error only, the square is expected to be the sum of squares.
        """
        return self.change**2 + self.se**2 if self.chance < CHANCE else 0.0


def conflict(recalibration: Recalibration, q: Sequence[Float64], weights: Sequence[Float64], doubt: float, arm: int = 1) -> Conflict:
    """Measure what disagreement does to the effect of one arm against the control, with weights by which predictions are borrowed.

    Parameters
    ----------
    recalibration : Recalibration
        Of the same predictions.
    q, weights : sequence of K ndarray of float64, shape (n,)
        Borrowed predictions of the source's rows by arm, and the share of each that is borrowed, in [0, 1].
    doubt : float
        Variance of the borrowed effect itself: the other table errs too. The source's part is the larger of the model's and the
        sandwich's variance: with a few treated rows the sandwich alone is too small.
    arm : int
    """

    def change(at: Float64) -> float:
        of_arm = np.mean(weights[arm] * (recalibration.apply(q[arm], arm, at) - q[arm]))
        return float(of_arm - np.mean(weights[0] * (recalibration.apply(q[0], 0, at) - q[0])))

    theta = recalibration.coefficients
    gradient = np.array([(change(theta + step) - change(theta - step)) / (2.0 * _STEP) for step in _STEP * np.eye(len(theta))])
    variance = max(float(gradient @ recalibration.covariance @ gradient), float(gradient @ recalibration.robust @ gradient), 0.0)
    return Conflict(change(theta), float(np.sqrt(variance + doubt)), recalibration.chance)


def _link(q: Float64, logistic: bool) -> Float64:
    if not logistic:
        return np.asarray(q, dtype=np.float64)
    unit = np.clip(q, _EDGE, 1.0 - _EDGE)
    return np.asarray(np.log(unit) - np.log1p(-unit), dtype=np.float64)
