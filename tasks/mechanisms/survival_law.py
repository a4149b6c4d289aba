"""Where within its period a time lies, and the draw of times and events from hazards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.contract.disclosure import SMALLEST_CELL
from tasks.contract.nuisance import Float64
from tasks.contract.survival import Grid, TimesToEvent
from tasks.mechanisms.laws.support import find_support

Mask = npt.NDArray[np.bool_]

#: Smallest share of a period's times that a tie must have to be kept.
_TIED = 0.01
#: Rows whose uniform numbers are drawn together: their quantiles are spread evenly.
_STRATUM = 64
_GOLDEN = (np.sqrt(5.0) - 1.0) / 2.0
_ALMOST = 1e-9


class Placement(NamedTuple):
    """Quantile function of the times within one period: straight between quartiles, flat at ties.

    Attributes
    ----------
    share : tuple of float
        Increasing, from 0 to 1.
    time : tuple of float
        In the source's unit, not falling.
    """

    share: tuple[float, ...]
    time: tuple[float, ...]


@dataclass(frozen=True)
class TimesLaw:
    """Times within periods: ties of at least five rows as often as in the source, all others uniform between their quartiles.

    Attributes
    ----------
    outcome : TimesToEvent
    unit, origin : float
        Step of the grid of the source's times, 0 where there is none, and a point of it. Times are rounded up to it: a period holds its
        end, not its beginning.
    event, censoring : tuple of m Placement
        By period.
    """

    outcome: TimesToEvent
    unit: float
    origin: float
    event: tuple[Placement, ...]
    censoring: tuple[Placement, ...]

    def draw(self, event: Float64, censoring: Float64, uniform: tuple[Float64, Float64]) -> tuple[Float64, Mask]:
        """Draw times and whether the event came.

        A time to the event and a time to censoring are drawn independently given the covariates; the earlier one is seen, and of equal
        ones the event. What lies beyond the last period is censored at its end.

        Parameters
        ----------
        event, censoring : ndarray of float64, shape (n, m)
            Hazards of each row under its own arm.
        uniform : tuple of two ndarray of float64, shape (n,)
            Uniform numbers in [0, 1): quantiles of both times.

        Returns
        -------
        time : ndarray of float64, shape (n,)
        came : ndarray of bool, shape (n,)
        """
        until = self._times(event, self.event, uniform[0])
        lost = self._times(censoring, self.censoring, uniform[1])
        end = self.outcome.edges[-1]
        if self.unit > 0.0:
            end = self.origin + np.floor((end - self.origin) / self.unit + _ALMOST) * self.unit
        came = (until <= lost) & (until <= end)
        return np.where(came, until, np.minimum(lost, end)), came

    def _times(self, hazard: Float64, placements: Sequence[Placement], uniform: Float64) -> Float64:
        """Invert the law of a time, shape (n,); infinite beyond the last period."""
        gone = 1.0 - np.cumprod(1.0 - hazard, axis=1)
        period = (gone <= uniform[:, None]).sum(axis=1)
        before = np.column_stack((np.zeros(len(gone)), gone))
        times = np.full(len(gone), np.inf)
        for number, placement in enumerate(placements):
            rows = np.flatnonzero(period == number)
            low, high = before[rows, number], before[rows, number + 1]
            share = np.clip((uniform[rows] - low) / np.maximum(high - low, 1e-300), 0.0, 1.0)
            times[rows] = np.interp(share, placement.share, placement.time)
        return times if self.unit == 0.0 else self.origin + np.ceil((times - self.origin) / self.unit - _ALMOST) * self.unit


def learn_times(time: Float64, event: Mask, outcome: TimesToEvent) -> TimesLaw:
    """Learn where within periods times lie.

    Parameters
    ----------
    time, event : ndarray, shape (n,)
        As in :class:`tasks.contract.survival.EventRows`.
    outcome : TimesToEvent
    """
    grid, support = outcome.grid, find_support(time)
    unit, origin = (support.step, support.origin) if support.grid else (0.0, 0.0)
    if unit == 0.0 and support.decimals is not None:
        unit = 10.0**-support.decimals
    return TimesLaw(outcome, unit, origin, *(tuple(_placements(time[which], grid)) for which in (event, ~event)))


def _placements(time: Float64, grid: Grid) -> list[Placement]:
    period = grid.period(time)
    starts = (0.0, *grid.edges[:-1])
    return [_placement(time[period == number], low, high) for number, (low, high) in enumerate(zip(starts, grid.edges, strict=True))]


def _placement(times: Float64, low: float, high: float) -> Placement:
    """Lay the times of one period end to end: ties where they are, the rest uniform between ``low``, its quartiles and ``high``."""
    values, counts = np.unique(times, return_counts=True)
    tied = counts >= max(SMALLEST_CELL, _TIED * len(times))
    mass = dict(zip(values[tied].tolist(), (counts[tied] / max(len(times), 1)).tolist(), strict=True))
    rest = np.repeat(values[~tied], counts[~tied])
    quarters = [0.25, 0.5, 0.75] if len(rest) >= 4 * SMALLEST_CELL else []
    places, spread = (low, *np.quantile(rest, quarters), high) if quarters else (low, high), (0.0, *quarters, 1.0)
    share, knots, passed = [], [], 0.0
    for value in sorted({*(float(place) for place in places), *mass}):
        here = passed + (1.0 - sum(mass.values())) * float(np.interp(value, places, spread))
        share.append(here)
        knots.append(value)
        if value in mass:
            passed += mass[value]
            share.append(here + mass[value])
            knots.append(value)
    return Placement(tuple(share), tuple(knots))


def spread_evenly(order_by: Float64, rng: np.random.Generator) -> tuple[Float64, Float64]:
    """Draw two uniform numbers for each row so that rows next to one another in ``order_by`` have quantiles that are spread evenly.

    Each row alone has independent uniform numbers; within a stratum of neighbours the pairs are a randomly shifted lattice, so that
    sums over rows barely vary.

    Parameters
    ----------
    order_by : ndarray of float64, shape (n,)
    rng : numpy.random.Generator

    Returns
    -------
    tuple of two ndarray of float64, shape (n,)
    """
    n = len(order_by)
    first, second = np.empty(n), np.empty(n)
    order = np.lexsort((rng.random(n), order_by))
    for start in range(0, n, _STRATUM):
        rows = rng.permutation(order[start : start + _STRATUM])
        at = np.arange(len(rows))
        first[rows] = ((at + rng.random(len(rows))) / len(rows) + rng.random()) % 1.0
        second[rows] = (at * _GOLDEN + rng.random()) % 1.0
    return first, second
