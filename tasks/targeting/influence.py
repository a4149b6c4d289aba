"""Influence values: what every estimator returns beside its point, and what its interval is computed from."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import numpy as np
from scipy.special import stdtrit

from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64, Int8, Nuisances
from tasks.contract.results import Estimate
from tasks.contract.rng import UInt64
from tasks.numerics.blocked import sums, sums_by
from tasks.numerics.normal import Z95
from tasks.targeting.sample import Rows, prepare


class Influence(NamedTuple):
    """A point estimate with its influence values.

    Attributes
    ----------
    estimand, estimator : str
        As in :class:`tasks.contract.results.Estimate`.
    point : float
        In units of the outcome.
    values : ndarray of float64, shape (n,)
        Estimated influence function at each row, row weight not multiplied in; its weighted mean is about zero.
    ess : float
        Effective sample size of the weights the estimand calls for, row weights multiplied in.
    clipped : float
        Share of rows whose propensity was truncated, in [0, 1].
    """

    estimand: str
    estimator: str
    point: float
    values: Float64
    ess: float
    clipped: float


class Estimator(Protocol):
    """What ``build`` of a file in ``methods`` returns."""

    def influence(self, rows: Rows) -> Influence:
        """Return the point and its influence values on checked rows."""
        ...

    def evaluate(self, a: Int8, y: Float64, nuisances: Nuisances, kind: str, truncation: float, weights: Float64 | None = None) -> Estimate:
        """Return the estimate with its interval."""
        ...


class InfluenceEstimator:
    """Base of the estimators: :meth:`evaluate` follows from :meth:`influence`."""

    def influence(self, rows: Rows) -> Influence:
        """Return the point and its influence values on checked rows."""
        raise NotImplementedError

    def evaluate(self, a: Int8, y: Float64, nuisances: Nuisances, kind: str, truncation: float, weights: Float64 | None = None) -> Estimate:
        """Estimate from one cross-fitting.

        Parameters
        ----------
        a : ndarray of int8, shape (n,)
            Treatment, 0 or 1; both arms present.
        y : ndarray of float64, shape (n,)
            Outcome.
        nuisances : Nuisances
            Out-of-fold predictions, each (n,).
        kind : str
            ``"binary"``, ``"continuous"`` or ``"count"``.
        truncation : float
            d, in [0, 0.5): propensities are kept in [d, 1-d].
        weights : ndarray of float64, shape (n,), optional
            Row weights, not negative; only their proportions count.

        Returns
        -------
        Estimate

        Raises
        ------
        EstimationError
            If shapes differ, a value is not finite or out of range, or an arm is empty.
        """
        rows = prepare(a, y, nuisances, kind, truncation, weights).between()
        return interval(self.influence(rows), rows)


def pseudo_outcomes(rows: Rows) -> Float64:
    """AIPW pseudo-outcomes phi, whose conditional mean given W is the effect tau(W).

    phi = Q1 - Q0 + A (Y - Q1) / g - (1 - A) (Y - Q0) / (1 - g), with g truncated: Robins, Rotnitzky, Zhao (1994),
    DOI 10.1080/01621459.1994.10476818.

    Parameters
    ----------
    rows : Rows

    Returns
    -------
    ndarray of float64, shape (n,)
        In units of the outcome.
    """
    # one term per arm, so that swapping the arms changes the sign of every bit pattern and nothing else
    one = rows.q1 + rows.treated * (rows.y - rows.q1) / rows.p1
    zero = rows.q0 + rows.control * (rows.y - rows.q0) / rows.p0
    return one - zero


def inverse_weights(rows: Rows) -> Float64:
    """Return A / g + (1 - A) / (1 - g), with g truncated; shape (n,), row weights not multiplied in."""
    return rows.treated / rows.p1 + rows.control / rows.p0


def effective_size(weights: Float64) -> float:
    """Kish's effective sample size (sum w)^2 / sum w^2, in (0, n]; 0 where all weights are 0."""
    squares, total = sums(weights**2, weights)
    return float(total) ** 2 / float(squares) if squares > 0.0 else 0.0


def standard_error(values: Float64, weights: Float64) -> float:
    """Return the standard error of a weighted mean from influence values.

    se^2 = n / (n - 1) * sum (w IF)^2 / (sum w)^2 over the n rows of positive weight; with equal weights this is
    sd(IF) / sqrt(n).

    Parameters
    ----------
    values, weights : ndarray of float64, shape (n,)
        Influence values and row weights.

    Returns
    -------
    float
        In units of the values.

    Raises
    ------
    EstimationError
        With fewer than two rows: a standard error of one row would be zero.
    """
    n = int(np.count_nonzero(weights))
    if n < 2:
        raise EstimationError(f"rows of an estimate must be at least 2; got {n}.")
    return math.sqrt(n / (n - 1) * float(np.sum((weights * values) ** 2))) / float(np.sum(weights))


def cluster_error(values: Float64, weights: Float64, clusters: UInt64) -> tuple[float, float]:
    """Return the standard error of a weighted mean over clusters, and the quantile of its 95 % interval.

    se^2 = G / (G - 1) * sum over clusters (sum of w IF in it)^2 / (sum w)^2, and t with G - 1 degrees of freedom: Cameron, Miller
    (2015), DOI 10.3368/jhr.50.2.317.

    Parameters
    ----------
    values, weights : ndarray of float64, shape (n,)
        Influence values and row weights.
    clusters : ndarray of uint64, shape (n,)
        Hash of each row's cluster.

    Returns
    -------
    tuple of float and float

    Raises
    ------
    EstimationError
        With fewer than two clusters of positive weight.
    """
    inside = weights > 0.0
    totals = sums_by(clusters[inside], (weights * values)[inside])
    count = len(totals)
    if count < 2:
        raise EstimationError(f"clusters of an estimate must be at least 2; got {count}.", "Name a column of more clusters.")
    se = math.sqrt(count / (count - 1) * float(np.sum(totals**2))) / float(np.sum(weights))
    return se, float(stdtrit(count - 1, 0.975))


def error_of(values: Float64, weights: Float64, clusters: UInt64 | None) -> tuple[float, float]:
    """Return the standard error of a weighted mean and the quantile of its 95 % interval: normal, or of t where rows come in clusters."""
    return (standard_error(values, weights), Z95) if clusters is None else cluster_error(values, weights, clusters)


def interval(influence: Influence, rows: Rows) -> Estimate:
    """Give a point its standard error and its two-sided 95 % interval."""
    se, quantile = error_of(influence.values, rows.weights, rows.sample.clusters)
    low, high = influence.point - quantile * se, influence.point + quantile * se
    return Estimate(influence.estimand, influence.estimator, influence.point, se, low, high, rows.n, influence.ess, influence.clipped)
