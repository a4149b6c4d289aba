"""Curves that change at event times and are level between them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tasks.contract.nuisance import Float64


class StepCurve(NamedTuple):
    """A curve of steps; arrays of shape (s,).

    Attributes
    ----------
    times : ndarray of float64
        Distinct times of its steps, increasing.
    values : ndarray of float64
        Its value just after each.
    start : float
        Its value before the first.
    """

    times: Float64
    values: Float64
    start: float

    def at(self, time: float) -> float:
        """Return the value at a time."""
        place = int(np.searchsorted(self.times, time, side="right"))
        return self.start if place == 0 else float(self.values[place - 1])

    def area(self, low: Float64 | float, high: float) -> Float64:
        """Return the integral from each of ``low`` to ``high``, shape of ``low``."""
        edges = np.concatenate(([0.0], self.times[(self.times > 0.0) & (self.times < high)], [high]))
        values = np.array([self.at(time) for time in edges[:-1]])
        until = np.concatenate(([0.0], np.cumsum(values * np.diff(edges))))
        start = np.interp(np.minimum(np.asarray(low, dtype=np.float64), high), edges, until)
        return np.asarray(until[-1] - start)
