"""Repeated extremes that look like codes for missing values: -9, -99, 999, 99.9, 9999-12-31, ..."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tasks.source.numbers import EDGE, Float64, Int64, Numbers
from tasks.source.values import level_text

#: 7, 8 or 9 throughout, or nines with a last digit from 5 on: what questionnaires and registers write; -1 stands for itself.
_CODE = re.compile(r"(-1|-?(7+|8+|9+|9+[5-8]|66+|55+)(\.(0*|9+|8+|7+))?)")
#: Ends of integer types, and of what programs write for no date.
_LIMITS = frozenset({"32767", "-32768", "2147483647", "-2147483648", "255", "65535", "4294967295", "1e+20", "100000000000000000000"})
_DAYS = frozenset(
    {"1900-01-01", "1899-12-30", "1899-12-31", "1904-01-01", "1960-01-01", "1970-01-01", "1753-01-01", "1800-01-01", "1111-11-11"}
)
_LAST_DAY = re.compile(r"(9999|2999|2099|2222|2100)-(12-31|01-01)|1[0-7][0-9]{2}-01-01|000[01]-01-01")
_STEPS, _SPIKE = 3.0, 5.0
_FEWEST_SHARE = 0.001


class Sentinel(NamedTuple):
    """A value that looks like a missing code, as text, and its rows."""

    text: str
    rows: int


def sentinels(numbers: Numbers, arrow: pa.DataType) -> tuple[Sentinel, ...]:
    """Return the extremes of a column that look like missing codes.

    An extreme does where at least five rows and one in a thousand have it, its digits are such a code, and it stands apart: at least three
    times the usual step away from its neighbour, or five times as frequent, or it is the one negative of whole numbers.

    Parameters
    ----------
    numbers : Numbers
        Of the column's values.
    arrow : pyarrow.DataType
        Its type: dates have codes of their own.
    """
    if len(numbers.lowest) < 3:
        return ()
    codes = _at_end(numbers, numbers.lowest, numbers.lowest_counts, arrow)
    codes += _at_end(numbers, numbers.highest[::-1], numbers.highest_counts[::-1], arrow)
    return tuple(dict.fromkeys(codes))


def _at_end(numbers: Numbers, values: Float64, counts: Int64, arrow: pa.DataType) -> list[Sentinel]:
    """Look at the outermost values, the extreme first."""
    codes: list[Sentinel] = []
    fewest = max(EDGE, _FEWEST_SHARE * numbers.finite)
    for place in range(min(3, len(values) - 1)):
        text = _text(float(values[place]), arrow)
        if counts[place] < fewest or not _is_code(text, arrow) or not _apart(numbers, values, counts, place):
            break
        codes.append(Sentinel(text, int(counts[place])))
    return codes


def _apart(numbers: Numbers, values: Float64, counts: Int64, place: int) -> bool:
    """Whether this value, with those beyond it, stands apart from the rest."""
    inner, times = values[place:], counts[place:]
    steps = np.abs(np.diff(inner))
    gaps = np.abs(np.diff(values))[place:]
    rest = steps[1:] if len(steps) > 1 else np.array([_usual_step(numbers)])
    usual = float(np.median(rest))
    neighbours = float(np.mean(times[1:])) if len(times) > 1 else 0.0
    if numbers.decimals == 0 and len(inner) > 3 and inner[0] < 0 <= inner[1]:
        return True  # the one negative value of a count or a scale
    # another code may stand between this one and the rest: the widest gap from here on counts
    return bool(max(gaps[:2]) >= _STEPS * usual) or bool(times[0] >= _SPIKE * neighbours)


def _usual_step(numbers: Numbers) -> float:
    return 10.0**-numbers.decimals


def _text(value: float, arrow: pa.DataType) -> str:
    if pa.types.is_temporal(arrow):
        days = np.datetime64(int(value), "us").astype("datetime64[D]")
        return str(days)
    return level_text(value, pa.float64()) if abs(value) < 1e15 else f"{value:g}"


def _is_code(text: str, arrow: pa.DataType) -> bool:
    if pa.types.is_temporal(arrow):
        return text in _DAYS or _LAST_DAY.fullmatch(text) is not None
    return text in _LIMITS or _CODE.fullmatch(text) is not None
