"""The natural support of a number: signs, whole numbers, grids, bounds and gaps that every row of the source keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from tasks.checks.evidence import Float64

#: Fewest rows that a trait is read from.
FEWEST = 20
#: Fewest rows, and smallest share of rows, that make a value an atom.
ATOM_ROWS, ATOM_SHARE = 5, 0.01
#: A sign is natural where a normal law of the same mean and sd would put this many rows of the source beyond 0, and none is there.
EXPECTED = 5.0
#: A grid has at most this many points between the source's extremes: finer ones are how a number was rounded or converted.
GRID_POINTS = 1_000
#: A gap beside an atom is natural where it is this many times as wide as the nearest 5 % of the values beyond it.
GAP, NEAREST = 3.0, 0.05
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
    """

    low: float | None = None
    high: float | None = None
    sign: int = 0
    step: float | None = None
    origin: float = 0.0
    gaps: tuple[tuple[float, float], ...] = ()

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
        known = values[~np.isnan(values)]
        counts = {"bound": 0, "sign": 0, "grid": 0, "gap": 0}
        if self.low is not None:
            counts["bound"] += int(np.sum(known < self.low - _slack(self.low)))
        if self.high is not None:
            counts["bound"] += int(np.sum(known > self.high + _slack(self.high)))
        if self.sign:
            counts["sign"] = int(np.sum(self.sign * known < 0))
        if self.step is not None:
            places = (known - self.origin) / self.step
            counts["grid"] = int(np.sum(np.abs(places - np.rint(places)) > 1e-6 * np.maximum(1.0, np.abs(places))))
        inside = np.zeros(len(known), dtype=np.bool_)
        for low, high in self.gaps:
            inside |= (known > low + _slack(low)) & (known < high)
        counts["gap"] = int(inside.sum())
        return {name: count for name, count in counts.items() if count}

    def without(self, broken: Mapping[str, int]) -> Support:
        """Return the support without the traits that some row of the source breaks."""
        kept = self
        if "bound" in broken:
            kept = replace(kept, low=None, high=None)
        if "sign" in broken:
            kept = replace(kept, sign=0)
        if "grid" in broken:
            kept = replace(kept, step=None, origin=0.0)
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
    known = values[~np.isnan(values)]
    low, high = bounds if bounds is not None else (None, None)
    if len(known) < FEWEST:
        return Support(low, high)
    points, counts = np.unique(known, return_counts=True)
    step, origin = _grid(points) if grid else (None, 0.0)
    if bounds is None and len(points) > 2:
        low = float(points[0]) if _is_end(counts, len(known)) else None
        high = float(points[-1]) if _is_end(counts[::-1], len(known)) else None
    return Support(low, high, _sign(known), step, origin, _gaps(points, counts))


def _slack(value: float) -> float:
    return 1e-9 * max(1.0, abs(value))


def _is_end(counts: np.ndarray, rows: int) -> bool:
    """Tell whether the first value is a bound: many rows share it, and more than twice as many as its neighbour."""
    return bool(counts[0] >= max(ATOM_ROWS, ATOM_SHARE * rows) and counts[0] > 2 * counts[1])


def _sign(known: Float64) -> int:
    mean, sd = float(known.mean()), float(known.std())
    for sign in (1, -1):
        if np.all(sign * known >= 0) and sd > 0:
            beyond = len(known) * 0.5 * math.erfc(sign * mean / sd / math.sqrt(2))
            if beyond >= EXPECTED or np.sum(known == 0) >= max(ATOM_ROWS, ATOM_SHARE * len(known)):
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


def _gaps(points: Float64, counts: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Return the halves next to an atom of the gaps between it and the values beyond."""
    rows, found = int(counts.sum()), []
    for at in np.flatnonzero(counts >= max(ATOM_ROWS, ATOM_SHARE * rows)):
        for sign in (1, -1):
            beyond, many = (points[at + 1 :], counts[at + 1 :]) if sign > 0 else (points[:at][::-1], counts[:at][::-1])
            if many.sum() < FEWEST:
                continue
            width = abs(float(beyond[0] - points[at]))
            nearest = float(beyond[np.searchsorted(np.cumsum(many), NEAREST * many.sum())])
            if width > GAP * abs(nearest - float(beyond[0])) and len(beyond) > 1:
                middle = float(points[at]) + sign * width / 2
                found.append((float(points[at]), middle) if sign > 0 else (middle, float(points[at])))
    return tuple(found)
