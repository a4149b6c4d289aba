"""Safe ranges: what a released number may span without showing an extreme of few rows."""

from __future__ import annotations

import pyarrow as pa

from tasks.contract.disclosure import Tail, safe_bounds, tail
from tasks.contract.roles import Kind
from tasks.source.numbers import MANY_DECIMALS, Numbers

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
        See :func:`tasks.contract.disclosure.safe_bounds`; on the column's grid (decimals, whole numbers, days, ...), so that rounding
        a bounded value can't lead beyond it.
    """
    low, high = tail(numbers.lowest, numbers.lowest_counts), tail(numbers.highest[::-1], numbers.highest_counts[::-1])
    if kind == "datetime":
        step = _step(arrow)
        first, last = safe_bounds(Tail(low.fifth / step, low.shared), Tail(high.fifth / step, high.shared), 1.0)
        return first * step, last * step
    digits = 0 if kind == "integer" else numbers.decimals
    return safe_bounds(low, high, 0.0 if digits == MANY_DECIMALS else 10.0**-digits)


def _step(arrow: pa.DataType) -> float:
    """Return the grid of a datetime type in microseconds."""
    if pa.types.is_date(arrow):
        return DAY
    return {"s": 1e6, "ms": 1e3}.get(arrow.unit, 1.0)
