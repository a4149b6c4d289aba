"""Time to event: who is asked when, and what is estimated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from tasks.contract.disclosure import SMALLEST_CELL
from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64, Int8
from tasks.contract.rng import UInt64


class EventRows(NamedTuple):
    """Rows (A, min(T, C), 1(T <= C)) of one table; arrays of shape (n,).

    Attributes
    ----------
    keys : ndarray of uint64
        Distinct.
    a : ndarray of int8
        Arm, in [0, K).
    time : ndarray of float64
        Time of the event or of censoring, not negative, in the source's unit.
    event : ndarray of bool
        True for an event, False for censoring. A row censored at a time was at risk then: events come first.
    weights : ndarray of float64, optional
        Row weights, not negative; None for equal ones.
    propensity : ndarray of float64, shape (n, K), optional
        P(A = k | W) where it is known: g is then not fitted.
    clusters : ndarray of uint64, optional
        Hash of each row's cluster.
    cause : ndarray of int8, optional
        Where events have competing causes: 1 of the cause of interest, 2, ... of others, 0 of none; ``event`` is True for any.
    """

    keys: UInt64
    a: Int8
    time: Float64
    event: npt.NDArray[np.bool_]
    weights: Float64 | None = None
    propensity: Float64 | None = None
    clusters: UInt64 | None = None
    cause: Int8 | None = None

    def at(self, places: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> EventRows:
        """Return the rows at some places."""
        weights, propensity = (None if values is None else values[places] for values in (self.weights, self.propensity))
        clusters = None if self.clusters is None else self.clusters[places]
        cause = None if self.cause is None else self.cause[places]
        return EventRows(self.keys[places], self.a[places], self.time[places], self.event[places], weights, propensity, clusters, cause)


class Periods(NamedTuple):
    """Person-period counts on a grid; arrays of shape (n, m).

    Attributes
    ----------
    risk : ndarray of float64
        Share of a period's counted events that a row was at risk of, in [0, 1]: 1 where it ended with one of them.
    ends : ndarray of bool
        Whether the event that is counted came in the period.
    """

    risk: Float64
    ends: npt.NDArray[np.bool_]

    def of_cause(self, causes: Int8, cause: int) -> Periods:
        """Return the counts of one cause's events: rows are at risk of it for as long as of any, events of other causes are none."""
        return self._replace(ends=self.ends & (causes == cause)[:, None])


class Grid(NamedTuple):
    """Periods (t_0, t_1], ..., (t_{m-1}, t_m] with t_0 = 0 and t_m the horizon; the first holds time 0 too.

    Attributes
    ----------
    edges : tuple of float
        t_1 < ... < t_m, in the source's unit.
    """

    edges: tuple[float, ...]

    @property
    def horizon(self) -> float:
        """t_m."""
        return self.edges[-1]

    @property
    def widths(self) -> Float64:
        """Lengths of the periods, shape (m,)."""
        return np.diff(np.array((0.0, *self.edges)))

    def period(self, time: Float64) -> npt.NDArray[np.intp]:
        """Return the period of each time, shape (n,), in [0, m]; m beyond the horizon."""
        return np.searchsorted(np.array(self.edges), time, side="left")

    def centres(self, time: Float64, event: npt.NDArray[np.bool_], weights: Float64 | None = None) -> tuple[float, ...]:
        """Return where in each period its events come on average, in [0, 1]: 1 is its end; the middle where there are fewer than five.

        Parameters
        ----------
        time, event : ndarray, shape (n,)
            As in :class:`EventRows`.
        weights : ndarray of float64, shape (n,), optional
            Row weights.
        """
        inside = event & (time <= self.horizon)
        period, w = self.period(time[inside]), np.ones(int(inside.sum())) if weights is None else weights[inside]
        begins = np.array((0.0, *self.edges[:-1]))
        share = (time[inside] - begins[period]) / self.widths[period]
        m = len(self.edges)
        count, total = np.bincount(period, minlength=m), np.bincount(period, weights=w, minlength=m)
        mean = np.bincount(period, weights=w * share, minlength=m) / np.maximum(total, 1e-300)
        return tuple(float(value) for value in np.where((count >= SMALLEST_CELL) & (total > 0.0), mean, 0.5))

    def place(self, time: float) -> int:
        """Return the number of the period that ends at a time.

        Raises
        ------
        EstimationError
            If none does.
        """
        if time not in self.edges:
            raise EstimationError(f"time of a survival probability must end a period of the grid; got {time:g}.", "Add it to the grid.")
        return self.edges.index(time)

    def counts(
        self,
        time: Float64,
        event: npt.NDArray[np.bool_],
        censoring: bool = False,
        at: npt.NDArray[np.intp] | None = None,
        among: Float64 | None = None,
    ) -> Periods:
        """Count events, or censorings, and the time at risk of them.

        A row that leaves within a period for the other reason was at risk of those counted events that came before. Without that
        correction hazards on a coarse grid are too low. Where each event time ends a period, hazards are those of Kaplan and Meier.

        Parameters
        ----------
        time, event : ndarray, shape (n,)
            As in :class:`EventRows`.
        censoring : bool
            Whether censorings are counted in place of events.
        at : ndarray of intp, shape (k,), optional
            Rows whose counts are wanted; by default all.
        among : ndarray of float64, optional
            Times of all counted events of a table that the rows are a part of, increasing; by default those of the rows.

        Returns
        -------
        Periods
        """
        edges = np.array(self.edges)
        ordered = np.sort(time[~event if censoring else event]) if among is None else among
        time, event = (time, event) if at is None else (time[at], event[at])
        counted, period = ~event if censoring else event, self.period(time)
        last = np.searchsorted(ordered, edges, side="right")
        first = np.append(0, last[:-1])
        # at one time events come before censorings
        before = np.searchsorted(ordered, time, side="left" if censoring else "right")
        by_events = (before[:, None] - first) / np.maximum(last - first, 1)
        by_length = (time[:, None] - (edges - self.widths)) / self.widths
        risk = np.clip(np.where(last > first, by_events, by_length), 0.0, 1.0)
        ends = (np.arange(len(edges)) == period[:, None]) & counted[:, None]
        risk[ends] = 1.0
        return Periods(risk, ends)


def event_grid(time: Float64, event: npt.NDArray[np.bool_], horizon: float, times: tuple[float, ...] = (), most: int = 30) -> Grid:
    """Choose the periods: the declared times and the horizon, and between them quantiles of the event times.

    Parameters
    ----------
    time, event : ndarray, shape (n,)
        As in :class:`EventRows`.
    horizon : float
        Last time that is looked at, above 0.
    times : tuple of float
        Times in (0, horizon] that must end a period.
    most : int
        Most periods, declared times aside. Where there are fewer distinct event times, each ends a period.

    Returns
    -------
    Grid
    """
    seen = np.unique(time[event & (time > 0.0) & (time < horizon)])
    if len(seen) >= most:
        inside = time[event & (time > 0.0) & (time < horizon)]
        seen = np.unique(np.quantile(inside, np.arange(1, most) / most, method="inverted_cdf"))
    return Grid(tuple(float(edge) for edge in np.unique(np.concatenate((seen, times, [horizon])))))


class Functional(NamedTuple):
    """A number that is linear in a curve on a grid: constant + sum_j weights_j S(t_j), or F(t_j) of one cause's incidence.

    Attributes
    ----------
    estimand : str
        ``"survival"``, ``"rmst"``, ``"incidence"`` or ``"time_lost"``.
    time : float
        Where the curve is read, or the horizon.
    constant : float
    weights : ndarray of float64, shape (m,)
    """

    estimand: str
    time: float
    constant: float
    weights: Float64

    def value(self, curves: Float64) -> Float64:
        """Return the number of each curve, shape (n,), from curves of shape (n, m)."""
        return np.asarray(self.constant + curves @ self.weights)


def survival_at(grid: Grid, time: float) -> Functional:
    """Return S(time)."""
    weights = np.zeros(len(grid.edges))
    weights[grid.place(time)] = 1.0
    return Functional("survival", time, 0.0, weights)


def restricted_mean(grid: Grid, centres: Sequence[float] | None = None) -> Functional:
    """Return the mean survival time restricted to the horizon: the area under the curve.

    Parameters
    ----------
    grid : Grid
    centres : sequence of m float, optional
        :meth:`Grid.centres`: where in their period events come on average; by default in the middle, as where the curve is straight
        between the grid's times. With them the area is that of the product-limit curve, whose steps are at the events.
    """
    widths = grid.widths
    share = np.full(len(widths), 0.5) if centres is None else np.array(centres)
    weights = widths * (1.0 - share) + np.append((widths * share)[1:], 0.0)
    return Functional("rmst", grid.horizon, float(widths[0] * share[0]), weights)


def incidence_at(grid: Grid, time: float) -> Functional:
    """Return F(time), the share with an event of the cause of interest by then."""
    return survival_at(grid, time)._replace(estimand="incidence")


def time_lost(grid: Grid, centres: Sequence[float] | None = None) -> Functional:
    """Return the mean time lost to the cause of interest up to the horizon: the area under its incidence; ``centres`` of its events."""
    return restricted_mean(grid, centres)._replace(estimand="time_lost", constant=0.0)


def causes_of(e: Float64, outcome: TimesToEvent) -> Int8 | None:
    """Return the causes of canonical events, 0 of none, shape (n,); None where an event has one cause."""
    return e.astype(np.int8) if outcome.causes else None


class TimesToEvent(BaseModel):
    """What a release keeps of a time to event.

    Attributes
    ----------
    horizon : float
        Time that means are restricted to, in the source's unit.
    times : tuple of float
        Times in (0, horizon] whose survival probabilities are kept, increasing.
    edges : tuple of float
        Ends of the periods on which hazards are fitted and times are drawn: those up to the horizon, then those of later follow-up. Each
        is rounded, so that none is a cell of the source. The last one is the end of follow-up in the release.
    centres : tuple of float
        Of the periods up to the horizon: :meth:`Grid.centres`, rounded.
    causes : tuple of str
        Labels of competing causes, that of interest first; empty where an event has one cause.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    horizon: float
    times: tuple[float, ...] = ()
    edges: tuple[float, ...]
    centres: tuple[float, ...]
    causes: tuple[str, ...] = ()

    @property
    def grid(self) -> Grid:
        """All periods, up to the end of follow-up."""
        return Grid(self.edges)

    @property
    def before(self) -> int:
        """Number of periods up to the horizon."""
        return self.edges.index(self.horizon) + 1

    @property
    def functionals(self) -> tuple[Functional, ...]:
        """The restricted mean, then S(t) at each of the times; weights of later periods are 0."""
        inside = Grid(self.edges[: self.before])
        return self._extended((restricted_mean(inside, self.centres), *(survival_at(inside, time) for time in self.times)))

    @property
    def of_cause(self) -> tuple[Functional, ...]:
        """The time lost to a cause, then its incidence F(t) at each of the times.

        Events of every cause are taken to come at the same place of a period on average, so that times lost add up to the horizon less
        the restricted mean.
        """
        inside = Grid(self.edges[: self.before])
        return self._extended((time_lost(inside, self.centres), *(incidence_at(inside, time) for time in self.times)))

    def _extended(self, functionals: Sequence[Functional]) -> tuple[Functional, ...]:
        """Give functionals of curves up to the horizon weights of 0 in later periods."""
        later = np.zeros(len(self.edges) - self.before)
        return tuple(each._replace(weights=np.append(each.weights, later)) for each in functionals)
