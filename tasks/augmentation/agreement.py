"""Whether the source's own outcomes agree with the model that added rows get theirs from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from tasks.contract.nuisance import Float64, Int8

#: Chance of seeing a disagreement where there is none: below it the user, who named the other table, is believed.
CHANCE = 0.01
_EDGE = 1e-6
_RIDGE = 1e-3
_STEP = 1e-4


class Recalibration(NamedTuple):
    """A model's predictions put right by the source's outcomes: x -> intercept of the arm + slope x.

    Attributes
    ----------
    coefficients : ndarray of float64, shape (3,)
        Intercepts of the control and the treated arm, slope; (0, 0, 1) is full agreement.
    covariance, robust : ndarray of float64, shape (3, 3)
        As the model has it, and by the sandwich.
    degrees : int
        Degrees of freedom: rows of the smaller arm less two, at least 1.
    logistic : bool
        Whether x is the logit of the prediction (binary outcomes) or the prediction itself.
    """

    coefficients: Float64
    covariance: Float64
    robust: Float64
    degrees: int
    logistic: bool

    def apply(self, q: Float64, arm: int, coefficients: Float64 | None = None) -> Float64:
        """Return predictions of one arm put right, shape (n,)."""
        own = self.coefficients if coefficients is None else coefficients
        moved = own[arm] + own[2] * _link(q, self.logistic)
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(moved, -700.0, 700.0))) if self.logistic else moved, dtype=np.float64)


def recalibrate(a: Int8, y: Float64, q0: Float64, q1: Float64, kind: str) -> Recalibration:
    """Fit the recalibration on the source's rows: logistic for binary outcomes, linear else.

    Cox (1958), DOI 10.1093/biomet/45.3-4.562, with an intercept for each arm: an effect that differs shows there, as a confounded
    source does; outcomes with noise in their labels show in the slope.

    Parameters
    ----------
    a : ndarray of int8, shape (n,)
        Treatment of the source's rows.
    y : ndarray of float64, shape (n,)
        Their outcomes.
    q0, q1 : ndarray of float64, shape (n,)
        The other table's predictions for them.
    kind : {"binary", "continuous", "count"}
        Kind of the outcome.
    """
    logistic = kind == "binary"
    x = _link(np.where(a == 1, q1, q0), logistic)
    design = np.column_stack((a == 0, a == 1, x)).astype(np.float64)
    agreement = np.array([0.0, 0.0, 1.0])
    at = agreement.copy()
    scale = 1.0 if logistic else max(float(np.var(y)), 1e-300)
    for _ in range(60):
        mean = design @ at
        if logistic:
            mean = 1.0 / (1.0 + np.exp(-np.clip(mean, -700.0, 700.0)))
        weight = mean * (1.0 - mean) if logistic else np.full(len(y), 1.0 / scale)
        # so weak a ridge towards agreement that it matters only where an arm says nothing
        bread = (design * weight[:, None]).T @ design + _RIDGE * np.eye(3)
        score = design.T @ ((y - mean) / scale) - _RIDGE * (at - agreement)
        step = np.linalg.solve(bread, score)
        at = at + step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12)) if logistic else at + step
        if float(np.abs(step).max()) < 1e-10:
            break
    own = design * ((y - mean) / scale)[:, None]
    inverse = np.linalg.inv(bread)
    degrees = max(1, min(int(np.sum(a == 0)), int(np.sum(a == 1))) - 2)
    return Recalibration(at, inverse, inverse @ (own.T @ own) @ inverse, degrees, logistic)


class Conflict(NamedTuple):
    """By how much the effect would change if borrowed predictions were put right by the source's outcomes.

    Attributes
    ----------
    change, se : float
        In units of the outcome.
    most : float
        Standard errors that chance explains: the 99.5 % point of Student's law with the smaller arm's degrees of freedom.
    """

    change: float
    se: float
    most: float

    @property
    def squared(self) -> float:
        """Squared error that borrowing is charged with: 0 where chance explains it, the unbiased estimate beyond."""
        return max(0.0, self.change**2 - self.se**2) if abs(self.change) > self.most * self.se else 0.0


def conflict(found: Recalibration, q0: Float64, q1: Float64, weight0: Float64, weight1: Float64, doubt: float) -> Conflict:
    """Measure what disagreement does to the effect, with weights by which predictions are borrowed.

    Parameters
    ----------
    found : Recalibration
        Of the same predictions.
    q0, q1, weight0, weight1 : ndarray of float64, shape (n,)
        Borrowed predictions of the source's rows, and the share of each that is borrowed, in [0, 1].
    doubt : float
        Variance of the borrowed effect itself: the other table errs too. The source's part is the larger of the model's and the
        sandwich's variance: with a few treated rows the sandwich alone is too small.
    """

    def change(at: Float64) -> float:
        return float(np.mean(weight1 * (found.apply(q1, 1, at) - q1)) - np.mean(weight0 * (found.apply(q0, 0, at) - q0)))

    own = found.coefficients
    gradient = np.array([(change(own + step) - change(own - step)) / (2.0 * _STEP) for step in _STEP * np.eye(3)])
    variance = max(float(gradient @ found.covariance @ gradient), float(gradient @ found.robust @ gradient), 0.0)
    return Conflict(change(own), float(np.sqrt(variance + doubt)), float(student.ppf(1.0 - CHANCE / 2.0, found.degrees)))


def _link(q: Float64, logistic: bool) -> Float64:
    if not logistic:
        return np.asarray(q, dtype=np.float64)
    unit = np.clip(q, _EDGE, 1.0 - _EDGE)
    return np.asarray(np.log(unit) - np.log1p(-unit), dtype=np.float64)
