"""The natural support of a number: signs, whole numbers, grids, bounds and gaps that every row of the source keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tasks.numerics.calendar import DAY, Grid, fit_grid
from tasks.numerics.ends import ATOM_ROWS, ATOM_SHARE, is_end

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

#: Fewest rows that a trait is read from.
FEWEST = 20
#: A sign is natural where a normal law of the same mean and sd would put this many rows of the source beyond 0, and none is there.
EXPECTED = 5.0
#: A grid has at most this many points between the source's extremes: finer ones are how a number was rounded or converted.
GRID_POINTS = 1_000
#: A gap between an atom and the values beyond is natural where it is this many times as wide as the nearest 5 % of these values,
GAP, NEAREST = 1.5, 0.05
#: and twice as wide as any gap between values in the nearer half of the rows beyond; the atom has twice as many rows as these values.
USUAL = 2.0
#: No value lies in the part of a natural gap next to the atom; rows drawn anew may come nearer to it than the source's.
FORBIDDEN = 1 / 3
#: Fewest rows off the most common value that a grid is read from, and fewest beyond an atom that its gap is compared with.
OTHERS = 10
#: Most decimals that a grid is looked for in.
_DECIMALS = 6


@dataclass(frozen=True)
class Support:
    """What all values of one column have in common.

    Attributes
    ----------
    low, high : float or None
        No value lies beyond: a bound that is declared, or that many rows share.
    sign : int
        1: never negative; -1: never positive; 0: neither.
    step : float or None
        All values are ``origin`` plus a multiple of it; 1 with ``origin`` 0 are whole numbers.
    origin : float
    gaps : tuple of (float, float)
        Open intervals beside an atom that hold no value.
    instants : Grid or None
        Of dates and times: all of them lie on it.
    declared : bool
        Whether the bounds are declared: they hold whatever the source's rows say.
    """

    low: float | None = None
    high: float | None = None
    sign: int = 0
    step: float | None = None
    origin: float = 0.0
    gaps: tuple[tuple[float, float], ...] = ()
    instants: Grid | None = None
    declared: bool = False

    def violations(self, values: Float64) -> dict[str, int]:
        """Count the values that break each trait.

        Parameters
        ----------
        values : ndarray of float64, shape (n,)
            NaN is missing and breaks nothing.

        Returns
        -------
        dict of str to int
            By trait (``"bound"``, ``"sign"``, ``"grid"``, ``"gap"``), those that are broken at all.
        """
        present = values[~np.isnan(values)]
        counts = {"bound": 0, "sign": 0, "grid": 0, "gap": 0}
        if self.low is not None:
            counts["bound"] += int(np.sum(present < self.low - _slack(self.low)))
        if self.high is not None:
            counts["bound"] += int(np.sum(present > self.high + _slack(self.high)))
        if self.sign:
            counts["sign"] = int(np.sum(self.sign * present < 0))
        if self.step is not None:
            places = (present - self.origin) / self.step
            counts["grid"] = int(np.sum(np.abs(places - np.rint(places)) > 1e-6 * np.maximum(1.0, np.abs(places))))
        if self.instants is not None:
            counts["grid"] = int(np.sum(~self.instants.shows(present)))
        inside = np.zeros(len(present), dtype=np.bool_)
        for low, high in self.gaps:
            inside |= (present > low + _slack(low)) & (present < high)
        counts["gap"] = int(inside.sum())
        return {name: count for name, count in counts.items() if count}

    def without(self, broken: Mapping[str, int]) -> Support:
        """Return the support without the traits that some row of the source breaks; declared bounds stand."""
        kept = self
        if "bound" in broken and not self.declared:
            kept = replace(kept, low=None, high=None)
        if "sign" in broken:
            kept = replace(kept, sign=0)
        if "grid" in broken:
            kept = replace(kept, step=None, origin=0.0, instants=None)
        return replace(kept, gaps=()) if "gap" in broken else kept


@dataclass(frozen=True)
class SupportEvidence:
    """Released cells outside the source's natural support; adds up over parts.

    Attributes
    ----------
    rows : int
        Rows looked at.
    outside : tuple of (str, int)
        ``"column (trait)"`` and how many cells break it.
    """

    rows: int
    outside: tuple[tuple[str, int], ...] = ()

    def __add__(self, other: SupportEvidence) -> SupportEvidence:
        """Return the evidence of both parts together."""
        cells = dict(self.outside)
        for name, count in other.outside:
            cells[name] = cells.get(name, 0) + count
        return SupportEvidence(self.rows + other.rows, tuple(sorted(cells.items())))


def natural_support(values: Float64, bounds: tuple[float, float] | None = None, grid: bool = True) -> Support:
    """Read the natural support from a sample of a column.

    A trait is read only where chance is no explanation: rows drawn anew from the column's law keep it. Traits must be checked
    on the source's other rows too; see :meth:`Support.without`.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        NaN is missing.
    bounds : tuple of float, optional
        Declared.
    grid : bool
        Whether to look for whole numbers and grids.

    Returns
    -------
    Support
    """
    present = values[~np.isnan(values)]
    low, high = bounds if bounds is not None else (None, None)
    declared = bounds is not None
    if len(present) < FEWEST:
        return Support(low, high, declared=declared)
    points, counts = np.unique(present, return_counts=True)
    step, origin = _grid(points) if grid and len(present) - counts.max() >= OTHERS else (None, 0.0)
    if bounds is None and len(points) > 2:
        low = float(points[0]) if is_end(counts, len(present)) else None
        high = float(points[-1]) if is_end(counts[::-1], len(present)) else None
    return Support(low, high, _sign(present), step, origin, _gaps(points, counts), declared=declared)


def support_of_instants(values: Float64, zone: str | None) -> Support:
    """Read the natural support of dates and times: their grid, such as days, whole hours or month starts.

    Weeks are read as days: that no row lies on another day of the week may be chance.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        Microseconds since 1970 UTC; NaN is missing.
    zone : str or None
        Time zone whose wall clock shows the grid.

    Returns
    -------
    Support
    """
    support = natural_support(values, grid=False)
    present = values[~np.isnan(values)]
    if len(present) < FEWEST or len(present) - np.unique(present, return_counts=True)[1].max() < OTHERS:
        return support
    grid = fit_grid(present, zone)
    if grid is not None and not grid.calendar and grid.unit % DAY == 0:
        grid = grid._replace(unit=DAY, offset=grid.offset % DAY)
    return replace(support, instants=grid)


def _slack(value: float) -> float:
    return 1e-9 * max(1.0, abs(value))


def _sign(present: Float64) -> int:
    mean, sd = float(present.mean()), float(present.std())
    for sign in (1, -1):
        if np.all(sign * present >= 0) and sd > 0:
            beyond = len(present) * 0.5 * math.erfc(sign * mean / sd / math.sqrt(2))
            if beyond >= EXPECTED or np.sum(present == 0) >= max(ATOM_ROWS, ATOM_SHARE * len(present)):
                return sign
    return 0


def _grid(points: Float64) -> tuple[float | None, float]:
    """Return the step and origin of the grid that all points lie on, where it is coarser than their last digit or whole numbers."""
    if len(points) < 3:
        return None, 0.0
    for decimals in range(_DECIMALS + 1):
        scaled = points * 10.0**decimals
        whole = np.rint(scaled)
        if np.abs(whole).max() < 2**53 and np.all(np.abs(scaled - whole) <= 1e-9 * np.maximum(1.0, np.abs(scaled))):
            unit = int(np.gcd.reduce(np.diff(whole.astype(np.int64))))
            if decimals == 0 and unit == 1:
                return 1.0, 0.0
            step = unit / 10.0**decimals
            natural = unit > 1 and (points[-1] - points[0]) / step <= GRID_POINTS
            return (step, float(points[0])) if natural else (1.0, 0.0) if decimals == 0 else (None, 0.0)
    return None, 0.0


def _gaps(points: Float64, counts: Int64) -> tuple[tuple[float, float], ...]:
    """Return the parts next to an atom of the natural gaps between it and the values beyond."""
    rows, gaps = int(counts.sum()), []
    for at in np.flatnonzero(counts >= max(ATOM_ROWS, ATOM_SHARE * rows)):
        atom = float(points[at])
        for sign, beyond, many in ((1, points[at + 1 :], counts[at + 1 :]), (-1, points[:at][::-1], counts[:at][::-1])):
            if many.sum() >= FEWEST and (width := _natural_gap(atom, int(counts[at]), beyond, many)) is not None:
                gaps.append((atom, atom + FORBIDDEN * width) if sign > 0 else (atom - FORBIDDEN * width, atom))
    return tuple(gaps)


def _natural_gap(atom: float, rows: int, beyond: Float64, many: Int64) -> float | None:
    """Return the width of the gap between an atom and the values beyond, nearest first; None where it may be chance."""
    below = np.cumsum(many)
    width = abs(float(beyond[0]) - atom)
    nearest = float(beyond[np.searchsorted(below, max(OTHERS, NEAREST * below[-1]))])
    half = max(3, int(np.searchsorted(below, below[-1] / 2)) + 1)
    usual = float(np.abs(np.diff(beyond[:half])).max(initial=0.0))
    alone = rows > USUAL * float(np.median(many[:half]))
    return width if alone and width > max(GAP * abs(nearest - float(beyond[0])), USUAL * usual) else None
