"""Aalen and Johansen's incidence of one cause at its exact times, with influence values."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tasks.contract.nuisance import Float64, Int8
from tasks.estimation.survival.steps import StepCurve


class CauseSteps(NamedTuple):
    """An incidence that rises at event times; arrays of shape (s,) at the distinct times of events of any cause, increasing.

    Attributes
    ----------
    times : ndarray of float64
    free, incidence : ndarray of float64
        Share free of every event, and with an event of the cause of interest, just after each.
    at_risk : ndarray of float64
        Weight of rows at risk at each.
    shares : ndarray of float64, shape (2, s)
        Of them, the shares with an event of the cause of interest and of the others.
    """

    times: Float64
    free: Float64
    incidence: Float64
    at_risk: Float64
    shares: Float64

    def at(self, time: float) -> float:
        """Return F(time)."""
        return StepCurve(self.times, self.incidence, 0.0).at(time)

    def area(self, low: Float64 | float, high: float) -> Float64:
        """Return the integral of F from each of ``low`` to ``high``, shape of ``low``."""
        return StepCurve(self.times, self.incidence, 0.0).area(low, high)


def aalen_johansen(time: Float64, cause: Int8, weights: Float64) -> CauseSteps:
    """Return the estimate of Aalen, Johansen (1978), https://www.jstor.org/stable/4615704.

    Parameters
    ----------
    time : ndarray of float64, shape (n,)
    cause : ndarray of int8, shape (n,)
        As in :class:`tasks.estimation.incidence.protocol.CauseCase`.
    weights : ndarray of float64, shape (n,)
        Row weights.

    Returns
    -------
    CauseSteps
    """
    times = np.unique(time[cause > 0])
    order = np.argsort(time, kind="stable")
    before = np.concatenate(([0.0], np.cumsum(weights[order])))
    at_risk = before[-1] - before[np.searchsorted(time[order], times, side="left")]
    counts = [
        np.bincount(np.searchsorted(times, time[cause == k]), weights=weights[cause == k], minlength=len(times)).astype(np.float64)
        for k in (1, 2)
    ]
    shares = np.minimum(np.stack(counts) / at_risk, 1.0)
    free = np.cumprod(np.maximum(1.0 - shares.sum(axis=0), 0.0))
    return CauseSteps(times, free, np.cumsum(np.append(1.0, free[:-1]) * shares[0]), at_risk, shares)


def cause_influence(steps: CauseSteps, time: Float64, cause: Int8, until: float, area: bool) -> Float64:
    """Return influence values of F(until), or of its area up to there, of the arm's own rows; times the total weight at risk at 0.

    Parameters
    ----------
    steps : CauseSteps
    time, cause : ndarray, shape (n,)
        As in :func:`aalen_johansen`.
    until : float
    area : bool
        Whether the number is the area under F.

    Returns
    -------
    ndarray of float64, shape (n,)
        Derivatives of the estimate by the weight of each row: the infinitesimal jackknife. Their weighted sum is 0.
    """
    used = steps.times <= until
    left = np.maximum(until - steps.times, 0.0)
    gained = left if area else np.ones(len(left))
    later = steps.area(steps.times, until) - steps.incidence * left if area else steps.at(until) - steps.incidence
    lost = np.where(steps.free > 0.0, later / np.maximum(steps.free, 1e-300), 0.0)
    scale = np.where(used, np.append(1.0, steps.free[:-1]) / steps.at_risk, 0.0) * np.stack((gained - lost, -lost))
    compensator = np.concatenate(([0.0], np.cumsum((scale * steps.shares).sum(axis=0))))
    last = np.searchsorted(steps.times, time, side="right")
    place = np.minimum(np.maximum(last - 1, 0), max(len(steps.times) - 1, 0))
    ended = (cause > 0) & (time <= until)
    jump = np.where(ended, scale[np.maximum(cause - 1, 0), place], 0.0) if len(steps.times) else np.zeros(len(time))
    return np.asarray(jump - compensator[last])
