"""Safe ranges: what a released number may span without showing an extreme of few rows."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa

from tasks.contract.roles import Kind
from tasks.source.numbers import MANY_DECIMALS, Numbers, edge_mean

DAY = 86_400_000_000


def safe_range(numbers: Numbers, kind: Kind, arrow: pa.DataType) -> tuple[float, float]:
    """Return the safe range of a numeric column.

    Parameters
    ----------
    numbers : Numbers
        Of at least ten finite values.
    kind : str
        ``"continuous"``, ``"integer"`` or ``"datetime"``.
    arrow : pyarrow.DataType
        The released type; its unit is the grid of a datetime.

    Returns
    -------
    low, high : float
        Means of the five lowest and the five highest rows, rounded inwards to the column's grid (decimals, whole
        numbers, days, ...), so that rounding a bounded value can't lead back to the extreme. The extreme itself only
        where at least five rows have it.
    """
    low = edge_mean(numbers.lowest, numbers.lowest_counts)
    high = edge_mean(numbers.highest[::-1], numbers.highest_counts[::-1])
    if kind == "datetime":
        step = _step(arrow)
        return math.ceil(low / step) * step, math.floor(high / step) * step
    digits = 0 if kind == "integer" else numbers.decimals
    if digits == MANY_DECIMALS:
        return low, high
    return _inwards(low, digits, 1), _inwards(high, digits, -1)


def _step(arrow: pa.DataType) -> float:
    """Return the grid of a datetime type in microseconds."""
    if pa.types.is_date(arrow):
        return DAY
    return {"s": 1e6, "ms": 1e3}.get(arrow.unit, 1.0)


def _inwards(value: float, digits: int, sign: int) -> float:
    rounded = float(np.round(value, digits))
    if (rounded - value) * sign < 0:
        rounded = float(np.round(rounded + sign * 10.0**-digits, digits))
    return rounded
