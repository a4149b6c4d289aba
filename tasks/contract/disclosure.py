"""What may be shown of few rows: no bound that rests on fewer than five, no count of one to four."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

#: Fewest rows that a number may rest on, or that a count which is not 0 may show.
SMALLEST_CELL = 5
#: What is said of a count from 1 to 4.
FEW = f"fewer than {SMALLEST_CELL}"
#: A bound is rounded to a step of a hundredth to a thousandth of the range.
_DIGITS = 2
_ALMOST = 1e-9


class Tail(NamedTuple):
    """One end of a column: the fifth value from the end, and whether five rows share that value."""

    fifth: float
    shared: bool


def tail(values: np.ndarray, counts: np.ndarray) -> Tail:
    """Return one end of a column.

    Parameters
    ----------
    values, counts : ndarray, shape (k,)
        Outermost distinct values with their rows, the extreme first; at least one value, and five rows or all there are.
    """
    at = min(int(np.searchsorted(np.cumsum(counts), SMALLEST_CELL)), len(values) - 1)
    return Tail(float(values[at]), bool(counts[at] >= SMALLEST_CELL))


def tails(values: np.ndarray) -> tuple[Tail, Tail]:
    """Return both ends of a column of n known values, shape (n,), n at least 1."""
    ordered = np.sort(values)
    place = min(SMALLEST_CELL, len(ordered)) - 1
    ends = ordered[: place + 1], ordered[::-1][: place + 1]
    low, high = (Tail(float(end[-1]), int(np.count_nonzero(values == end[-1])) >= SMALLEST_CELL) for end in ends)
    return low, high


def safe_bounds(low: Tail, high: Tail, grid: float = 0.0) -> tuple[float, float]:
    """Return bounds that say nothing of any extreme: at least five rows lie at or beyond each.

    The fifth value from the end is rounded inwards to a step of a hundredth to a thousandth of the range, so that the bound is no cell
    of the source either, and no released value that is held at it can be an extreme. A value that five rows share is a bound as it is:
    rounded inwards, it would leave no place for the mass at a cap that few rows exceed. A mean of the five outermost values would
    give a lone outlier away: five times the mean, less four times a guess of the others.

    Parameters
    ----------
    low, high : Tail
        Both ends of the column.
    grid : float
        Step of the column's values, 0 where there is none.

    Returns
    -------
    low, high : float
        The fifth value itself where five rows share it.
    """
    width = high.fifth - low.fifth
    if width <= 0:
        return low.fifth, high.fifth
    step = 10.0 ** (math.floor(math.log10(width)) - _DIGITS)
    step = grid * max(1, round(step / grid)) if grid > 0 else step
    digits = max(0, _DIGITS - math.floor(math.log10(step)))
    held = low.fifth if low.shared else float(np.round(math.ceil(low.fifth / step - _ALMOST) * step, digits))
    most = high.fifth if high.shared else float(np.round(math.floor(high.fifth / step + _ALMOST) * step, digits))
    return held, max(most, held)


def shown_count(count: int) -> int:
    """Return a count of rows as records show it: 1 to 4 are all written as 4."""
    return SMALLEST_CELL - 1 if 0 < count < SMALLEST_CELL else count


def few(count: int) -> str:
    """Return a count of rows as sentences say it: "fewer than 5" for 1 to 4."""
    return FEW if 0 < count < SMALLEST_CELL else f"{count:,}"


def rounded(count: int) -> int:
    """Round a count to the nearest multiple of five, so that a small count beside it can't be found by subtraction."""
    return SMALLEST_CELL * round(count / SMALLEST_CELL)
