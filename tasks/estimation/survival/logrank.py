"""The log-rank test of equal hazards of the arms at all times."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.special import chdtrc

from tasks.contract.nuisance import Float64
from tasks.estimation.survival.cox import robust_score
from tasks.estimation.survival.risk_sets import ArmRows, risk_sets


class LogRank(NamedTuple):
    """A log-rank test of K arms.

    Attributes
    ----------
    excess : ndarray of float64, shape (K - 1,)
        Events of the arms beside the control, less those expected under equal hazards.
    variance : ndarray of float64, shape (K - 1, K - 1)
        Of ``excess`` under equal hazards.
    statistic : float
        Chi-squared with ``df`` degrees of freedom under equal hazards.
    df : int
        K - 1.
    p_value : float
    """

    excess: Float64
    variance: Float64
    statistic: float
    df: int
    p_value: float

    @property
    def log_ratio(self) -> float:
        """Of two arms: Peto's estimate of the log hazard ratio, excess over variance."""
        return float(self.excess[0] / self.variance[0, 0])

    @property
    def error(self) -> float:
        """Of two arms: the standard error of :attr:`log_ratio`; their quotient is the test's normal statistic."""
        return 1.0 / math.sqrt(float(self.variance[0, 0]))


def logrank_test(rows: ArmRows, arms: int) -> LogRank | None:
    """Compare the hazards of all arms, within strata where there are any.

    At an event time with d events among n rows at risk, n_k of arm k, events expected in it are d n_k / n; their covariance is
    hypergeometric: Mantel (1966); Peto, Peto (1972), DOI 10.2307/2344317. With row weights or clusters: the score test of Cox's model
    with a robust variance, :func:`tasks.estimation.survival.cox.robust_score`.

    Parameters
    ----------
    rows : ArmRows
    arms : int
        K.

    Returns
    -------
    LogRank or None
        None where arms are never at risk together.
    """
    if rows.weights is None and rows.clusters is None:
        excess, variance = _counted(rows, arms)
    else:
        excess, residuals = robust_score(rows, arms)
        variance = _robust(residuals * rows.unit_weights[:, None], rows)
    if np.linalg.matrix_rank(variance) < arms - 1:
        return None
    statistic = float(excess @ np.linalg.solve(variance, excess))
    return LogRank(excess, variance, statistic, arms - 1, float(chdtrc(arms - 1, statistic)))


def _counted(rows: ArmRows, arms: int) -> tuple[Float64, Float64]:
    excess, variance = np.zeros(arms), np.zeros((arms, arms))
    for sets in risk_sets(rows, arms):
        n, d = sets.at_risk.sum(axis=1), sets.died.sum(axis=1)
        share = sets.at_risk / n[:, None]
        excess += (sets.died - d[:, None] * share).sum(axis=0)
        # one row at risk has no variance
        factor = np.where(n > 1.0, d * (n - d) / np.maximum(n - 1.0, 1.0), 0.0)
        weighted = factor[:, None] * share
        variance += np.diag(weighted.sum(axis=0)) - weighted.T @ share
    return excess[1:], variance[1:, 1:]


def _robust(parts: Float64, rows: ArmRows) -> Float64:
    """Return the covariance of a sum of rows' parts, or of clusters', shape (K - 1, K - 1)."""
    if rows.clusters is not None:
        _, place = np.unique(rows.clusters, return_inverse=True)
        parts = np.column_stack([np.bincount(place, weights=column) for column in parts.T])
    count = len(parts)
    return np.asarray(parts.T @ parts * (count / max(count - 1, 1)), dtype=np.float64)
