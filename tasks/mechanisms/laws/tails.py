"""Tails of an outcome beyond its safe range: how far its five largest values lie out, told by order statistics alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tasks.contract.nuisance import Float64
from tasks.mechanisms.laws.support import FEWEST, Support, outward

#: Ranks of the order statistics that a tail is read from, each the fifth of the next: five rows lie at or beyond the first.
_RANKS = (FEWEST, 5 * FEWEST, 25 * FEWEST)
#: Fewest rows of an outcome with a tail: the last of these ranks is its upper quarter.
_ENOUGH = 4 * _RANKS[-1]
#: The shape is shrunk by half, and bounded: at 125 rows its own error is as large as it.
_SHRINKAGE, _LARGEST_SHAPE = 0.5, 0.25


class Tail(NamedTuple):
    """The outermost five rows of an outcome, above or (mirrored) below.

    Attributes
    ----------
    edge : float
        The fifth value from the end: rows at or beyond it are of the tail. Never published.
    start, end : float
        Between them the tail is uniform; ``start`` is the edge rounded inwards to two significant digits.
    """

    edge: float
    start: float
    end: float


def find_tails(y: Float64, support: Support) -> tuple[Tail | None, Tail | None]:
    """Return the lower and the upper tail.

    An end has a tail where it is no bound, where no atom lies, and where 500 rows are enough to see it. Its length is twice the mean excess
    beyond the fifth value of a generalised Pareto law whose shape is read from three order statistics (Pickands 1975), shrunk by half. No
    number depends on one of the four outermost values. A declared range ends it.

    Parameters
    ----------
    y : ndarray of float64, shape (n,)
        Outcomes.
    support : Support
        Their support.

    Returns
    -------
    tuple of Tail or None

    References
    ----------
    Pickands (1975), Statistical inference using extreme order statistics, DOI 10.1214/aos/1176343003.
    """
    below, above = _upper(-y, support.bounded[0]), _upper(y, support.bounded[1])
    lower = None if below is None else Tail(-below.edge, -below.start, -below.end)
    low, high = (support.low, support.high) if support.declared else (-np.inf, np.inf)
    low, high = (max(low, 0.0) if support.sign > 0 else low), (min(high, 0.0) if support.sign < 0 else high)
    return _within(lower, low, high), _within(above, low, high)


def _upper(y: Float64, bounded: bool) -> Tail | None:
    if bounded or len(y) < _ENOUGH:
        return None
    first, second, third = (float(np.partition(y, -rank)[-rank]) for rank in _RANKS)
    if not first > second > third or _tied(y[y >= first]):
        return None
    length = float(f"{2.0 * mean_excess(first, second, third):.1e}")
    start = -outward(-first, up=True)
    return Tail(first, start, start + length)


def mean_excess(first: float, second: float, third: float) -> float:
    """Return the mean excess beyond the first of three order statistics of ranks k, 5k and 25k.

    Parameters
    ----------
    first, second, third : float
        Falling.
    """
    ratio = float(np.log((first - second) / (second - third)) / np.log(5.0))
    shape = float(np.clip(_SHRINKAGE * ratio, -_LARGEST_SHAPE, _LARGEST_SHAPE))
    growth = np.log(5.0) if abs(shape) < 1e-9 else (5.0**shape - 1.0) / shape
    return float((first - second) / growth * 5.0**shape / (1.0 - shape))


def _tied(values: Float64) -> bool:
    """Return whether at least five rows share one of the values."""
    return int(np.unique(values, return_counts=True)[1].max()) >= FEWEST


def _within(tail: Tail | None, low: float, high: float) -> Tail | None:
    """Cut a tail at bounds; None where it starts beyond."""
    if tail is None or not low <= tail.start <= high:
        return None
    return tail._replace(end=float(np.clip(tail.end, low, high)))
