"""Kaplan and Meier's curve of an arm at its exact times, with influence values."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.contract.nuisance import Float64
from tasks.estimation.survival.steps import StepCurve


class Steps(NamedTuple):
    """A curve that falls at event times; arrays of shape (s,).

    Attributes
    ----------
    times : ndarray of float64
        Distinct event times, increasing.
    survival : ndarray of float64
        S just after each.
    at_risk, events : ndarray of float64
        Weight of rows at risk at each, and of its events.
    """

    times: Float64
    survival: Float64
    at_risk: Float64
    events: Float64

    def at(self, time: float) -> float:
        """Return S(time)."""
        return StepCurve(self.times, self.survival, 1.0).at(time)

    def area(self, low: Float64 | float, high: float) -> Float64:
        """Return the integral of S from each of ``low`` to ``high``, shape of ``low``."""
        return StepCurve(self.times, self.survival, 1.0).area(low, high)


def kaplan_meier(time: Float64, event: npt.NDArray[np.bool_], weights: Float64) -> Steps:
    """Return the product-limit estimate: Kaplan, Meier (1958), DOI 10.1080/01621459.1958.10501452.

    Parameters
    ----------
    time, event : ndarray, shape (n,)
        As in :class:`tasks.contract.survival.EventRows`.
    weights : ndarray of float64, shape (n,)
        Row weights.

    Returns
    -------
    Steps
    """
    times = np.unique(time[event])
    order = np.argsort(time, kind="stable")
    before = np.concatenate(([0.0], np.cumsum(weights[order])))
    at_risk = before[-1] - before[np.searchsorted(time[order], times, side="left")]
    events = np.bincount(np.searchsorted(times, time[event]), weights=weights[event], minlength=len(times)).astype(np.float64)
    return Steps(times, np.cumprod(1.0 - np.minimum(events / at_risk, 1.0)), at_risk, events)


def influence(steps: Steps, time: Float64, event: npt.NDArray[np.bool_], remaining: Float64, until: float) -> Float64:
    """Return influence values of a number that is linear in the curve, of the arm's own rows; times the total weight at risk at 0.

    Parameters
    ----------
    steps : Steps
    time, event : ndarray, shape (n,)
    remaining : ndarray of float64, shape (s,)
        Derivative of the number to minus the logarithm of S from each event time on: S(t) for S(t), the area beyond for a mean.
    until : float
        Time up to which the curve matters.

    Returns
    -------
    ndarray of float64, shape (n,)
        Their weighted squares sum to Greenwood's variance.
    """
    used = (steps.times <= until) & (steps.survival > 0.0)
    share = steps.events / steps.at_risk
    # d log S = -(dN - Y dLambda) / (at risk (1 - dLambda))
    scale = np.where(used, remaining / np.maximum(steps.at_risk * (1.0 - share), 1e-300), 0.0)
    compensator = np.concatenate(([0.0], np.cumsum(scale * share)))
    last = np.searchsorted(steps.times, time, side="right")
    place = np.minimum(np.maximum(last - 1, 0), max(len(steps.times) - 1, 0))
    jump = np.where(event & (time <= until), scale[place], 0.0) if len(steps.times) else np.zeros(len(time))
    return np.asarray(compensator[last] - jump)
