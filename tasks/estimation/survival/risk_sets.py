"""Rows at risk and events at every event time, by arm: what the log-rank test and Cox's model need of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.contract.nuisance import Float64, Int8
from tasks.contract.rng import UInt64


class ArmRows(NamedTuple):
    """Times of rows of K arms; arrays of shape (n,).

    Attributes
    ----------
    a : ndarray of int8
        Arm, in [0, K).
    time : ndarray of float64
        Time of the event or of censoring, not negative.
    event : ndarray of bool
        A row censored at a time was at risk then.
    weights : ndarray of float64, optional
        Row weights; None for equal ones.
    clusters : ndarray of uint64, optional
        Hash of each row's cluster.
    strata : ndarray of int64, optional
        Number of each row's stratum: risk sets lie within strata.
    """

    a: Int8
    time: Float64
    event: npt.NDArray[np.bool_]
    weights: Float64 | None = None
    clusters: UInt64 | None = None
    strata: npt.NDArray[np.int64] | None = None

    def of_arms(self, arms: Sequence[int]) -> ArmRows:
        """Return the rows of some arms, numbered by their place in ``arms``."""
        here = np.isin(self.a, arms)
        number = np.searchsorted(np.sort(arms), self.a[here])
        place = np.argsort(arms)[number].astype(np.int8)
        return ArmRows(place, *(None if values is None else values[here] for values in self[1:]))  # type: ignore[arg-type]

    @property
    def unit_weights(self) -> Float64:
        """Row weights, shape (n,)."""
        return np.ones(len(self.a)) if self.weights is None else self.weights


class RiskSets(NamedTuple):
    """One stratum's event times; K arms.

    Attributes
    ----------
    places : ndarray of intp, shape (r,)
        Rows of the stratum.
    last : ndarray of intp, shape (r,)
        Number of event times up to each row's own time.
    events : ndarray of intp, shape (s,)
        Rows with an event at each time.
    at_risk, died : ndarray of float64, shape (s, K)
        Weight of rows at risk, and of those with an event.
    """

    places: npt.NDArray[np.intp]
    last: npt.NDArray[np.intp]
    events: npt.NDArray[np.intp]
    at_risk: Float64
    died: Float64


def risk_sets(rows: ArmRows, arms: int) -> list[RiskSets]:
    """Count rows at risk and events at each event time, stratum by stratum; strata without an event are left out.

    Parameters
    ----------
    rows : ArmRows
    arms : int
        K.
    """
    strata = np.zeros(len(rows.a), dtype=np.int64) if rows.strata is None else rows.strata
    order = np.argsort(strata, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(strata[order])) + 1)
    return [_stratum(rows, arms, places) for places in parts if rows.event[places].any()]


def _stratum(rows: ArmRows, arms: int, places: npt.NDArray[np.intp]) -> RiskSets:
    time, event, a, w = rows.time[places], rows.event[places], rows.a[places], rows.unit_weights[places]
    times = np.unique(time[event])
    order = np.argsort(time, kind="stable")
    first = np.searchsorted(time[order], times, side="left")
    at_risk, died = np.empty((len(times), arms)), np.empty((len(times), arms))
    at = np.searchsorted(times, time[event])
    for arm in range(arms):
        here = a == arm
        # summed from the end: a risk set that is empty weighs nothing to the last bit
        left = np.concatenate((np.cumsum((w * here)[order][::-1])[::-1], [0.0]))
        at_risk[:, arm] = left[first]
        died[:, arm] = np.bincount(at[here[event]], weights=w[event & here], minlength=len(times))
    events = np.bincount(at, minlength=len(times)).astype(np.intp)
    return RiskSets(places, np.searchsorted(times, time, side="right"), events, at_risk, died)
