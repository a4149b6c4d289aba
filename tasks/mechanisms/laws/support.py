"""Where an outcome lives: its grid, its atoms, its bounds, and the range that may be shown of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tasks.contract.nuisance import Float64
from tasks.numerics.ends import is_end

FEWEST = 5  # rows behind an atom, a block or a bound
_DECIMALS = 6  # more digits than these are no grid
_TIED = 0.5  # share of rows whose value at least five share at which a decimal grid is a grid
_SHARE = 0.002  # least share of the rows in an atom
_STANDS_OUT = 4.0  # rows of an atom over those of its neighbours
_NEIGHBOURS = 5  # on either side
_STEEP = 0.33  # of a normal law 0.45, of a uniform one 0.18
_FAR = 1.35  # of a normal law: 3.1 standard deviations
_END = 1.5  # rows of a bound over those of its neighbour
_ENOUGH = 100  # rows from which quantiles in the tails count


class Support(NamedTuple):
    """The natural support of an outcome.

    Attributes
    ----------
    step : float
        Distance of the values' grid, 0 for none.
    origin : float
        A point of the grid.
    decimals : int or None
        Digits behind the point; None for more than six.
    low, high : float
        Safe range: what is drawn and published stays inside. The declared range where there is one.
    inner : tuple of two float
        Safe range of the source's values.
    grid, atoms : bool
        Whether values lie on a grid that can be seen, and whether some stand out.
    heaped : bool
        Whether one of those is not the least value.
    bounded : tuple of two bool
        Whether outcomes end at a bound below, above.
    declared : bool
        Whether the range was declared.
    sign : int
        1 where no outcome is negative, -1 where none is positive, else 0.
    """

    step: float
    origin: float
    decimals: int | None
    low: float
    high: float
    inner: tuple[float, float]
    grid: bool
    atoms: bool
    heaped: bool
    bounded: tuple[bool, bool]
    declared: bool
    sign: int

    @property
    def shaped(self) -> bool:
        """Whether a law that adds residuals would leave the support."""
        return self.grid or self.atoms or any(self.bounded) or self.declared


def find_support(y: Float64, declared: tuple[float, float] | None = None) -> Support:
    """Find the natural support of an outcome.

    A *grid* is the largest step of which all values (up to six decimals) are multiples away from one of them: it counts where it is
    coarser than the decimals say, or where half of the rows share their value with four others. An *atom* is a value of at least five
    rows and 0.2 % of them, four times as many as its neighbours have on average. Outcomes are *bounded* at an end that is an atom, that
    is steep (the 1 % quantile is closer to the 10 % quantile than it is in bell-shaped laws), that is a zero which none passes but a
    bell-shaped law would, or that one row in a hundred and one and a half times as many as its neighbour have: the gate `support` asks for
    twice as many, so what it calls a bound is one here.

    Parameters
    ----------
    y : ndarray of float64, shape (n,)
        Outcomes, finite.
    declared : tuple of two float, optional
        Range that the user declares.

    Returns
    -------
    Support
        Its bounds are order statistics with at least five rows at or beyond them, rounded outwards to two significant digits
        (not where five rows share the extreme itself); a declared range stands as it is.
    """
    values, counts = np.unique(y, return_counts=True)
    step, decimals, coarse = _lattice(values)
    tied = float(counts[counts >= FEWEST].sum()) / max(len(y), 1)
    grid = step > 0.0 and (coarse or tied >= _TIED)
    stands = _standing_out(counts, len(y))
    inner = _safe(y, values, counts, step)
    sign = 1 if values[0] >= 0.0 else -1 if values[-1] <= 0.0 else 0
    bounded = (
        bool(stands[0]) or _ends(y, values[0] >= 0.0) or (len(values) > 2 and is_end(counts, len(y), _END)),
        bool(stands[-1]) or _ends(-y, values[-1] <= 0.0) or (len(values) > 2 and is_end(counts[::-1], len(y), _END)),
    )
    low, high = inner if declared is None else declared
    origin = float(values[0]) if step > 0.0 else 0.0
    return Support(
        step, origin, decimals, low, high, inner, grid, bool(stands.any()), bool(stands[1:].any()), bounded, declared is not None, sign
    )


def outward(value: float, up: bool) -> float:
    """Round to two significant digits, away from the values inside."""
    if value == 0.0:
        return 0.0
    digits = 1 - int(np.floor(np.log10(abs(value))))
    rounded = float(np.round(value, digits))
    if (rounded < value) if up else (rounded > value):
        rounded = float(np.round(rounded + (1.0 if up else -1.0) * 10.0**-digits, digits))
    return rounded


def _lattice(values: Float64) -> tuple[float, int | None, bool]:
    """Return step and decimals of sorted distinct values, and whether the step is coarser than the decimals."""
    for digits in range(_DECIMALS + 1):
        rounded = np.round(values, digits)
        if np.all(np.abs(rounded - values) <= 1e-7 * np.maximum(1.0, np.abs(values)) * 10.0**-digits):
            break
    else:
        return 0.0, None, False
    units = np.rint((rounded - rounded[0]) * 10.0**digits)
    if units[-1] > 2.0**53:
        return 0.0, None, False
    common = int(np.gcd.reduce(units.astype(np.int64))) if len(units) > 1 else 1
    # two or three values are far apart by chance
    return float(np.round(common * 10.0**-digits, digits)), digits, common > 1 and len(values) > 2


def _standing_out(counts: np.ndarray[tuple[int], np.dtype[np.int64]], rows: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which values hold far more rows than their neighbours."""
    total = np.concatenate(([0], np.cumsum(counts)))
    at = np.arange(len(counts))
    first, last = np.maximum(at - _NEIGHBOURS, 0), np.minimum(at + _NEIGHBOURS + 1, len(counts))
    others = last - first - 1
    around = (total[last] - total[first] - counts) / np.maximum(others, 1)
    return np.asarray((counts >= max(FEWEST, _SHARE * rows)) & ((counts >= _STANDS_OUT * around) | (others == 0)))


def _safe(y: Float64, values: Float64, counts: np.ndarray[tuple[int], np.dtype[np.int64]], step: float) -> tuple[float, float]:
    ordered = np.sort(y)
    place = min(FEWEST, len(ordered)) - 1
    low, high = float(ordered[place]), float(ordered[-1 - place])
    if counts[0] < FEWEST:
        low = outward(low, up=False)
        low = values[0] + step * np.floor((low - values[0]) / step + 1e-9) if step > 0.0 else low
        low = max(low, 0.0) if values[0] >= 0.0 else low
    if counts[-1] < FEWEST:
        high = outward(high, up=True)
        high = values[0] + step * np.ceil((high - values[0]) / step - 1e-9) if step > 0.0 else high
        high = min(high, 0.0) if values[-1] <= 0.0 else high
    return float(low), float(high)


def _ends(y: Float64, signed: bool) -> bool:
    """Return whether a law ends below at a bound rather than in a tail."""
    if len(y) < _ENOUGH:
        return False
    least, lower, middle = (float(value) for value in np.quantile(y, [0.01, 0.10, 0.50]))
    if middle <= least:
        return True
    steep = (lower - least) / (middle - least) < _STEEP
    return steep or (signed and middle / (middle - least) < _FAR)
