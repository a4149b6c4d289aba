"""Scales of plots: from numbers to places, with round ticks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tasks.pages.numbers import signed

_UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


class Axis(NamedTuple):
    """A linear scale.

    Attributes
    ----------
    low, high : float
        Ends of the scale, low below high.
    start, end : float
        Where they lie, in pixels.
    """

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the place of a value, in pixels; values beyond an end lie on it."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def ticks(self, most: int = 5) -> list[float]:
        """Return round values on the scale."""
        step = nice_step((self.high - self.low) / most)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def nice_step(width: float) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that is at least ``width``."""
    power = 10.0 ** math.floor(math.log10(width))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= width * (1.0 - 1e-9))


class LogAxis(NamedTuple):
    """A logarithmic scale of positive numbers; fields as in :class:`Axis`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the place of a value, in pixels; values beyond an end lie on it."""
        return Axis(math.log(self.low), math.log(self.high), self.start, self.end).at(math.log(value))


def spanning(values: Iterable[float], start: float, end: float, reach: float = 2.0) -> Axis:
    """Return a scale over values with a margin, zero included where that widens it at most ``reach`` times."""
    known = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(known), max(known)
    if max(high, 0.0) - min(low, 0.0) <= reach * (high - low):
        low, high = min(low, 0.0), max(high, 0.0)
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return Axis(low - margin, high + margin, start, end)


def short(value: float) -> str:
    """Write one round number in few characters."""
    return tick_labels([value])[0]


def tick_labels(values: Sequence[float]) -> tuple[str, ...]:
    """Write the numbers of one axis alike: with as many decimals as their steps need, large ones shortened.

    Parameters
    ----------
    values : sequence of float
        Increasing, evenly spaced.
    """
    if not values:
        return ()
    largest = max(abs(value) for value in values)
    step = min((b - a for a, b in itertools.pairwise(values)), default=largest or 1.0)
    # years and other numbers of four digits are read as they are
    factor, unit = next(
        ((size, name) for size, name in _UNITS if largest >= (10 * size if size == 1e3 else size) and step >= size / 100), (1.0, "")
    )
    if factor == 1.0 and (largest >= 1e7 or 0.0 < largest < 1e-4):
        digits = min(max(math.floor(math.log10(largest) + 1e-9) - math.floor(math.log10(step) + 1e-9), 0), 15)
        return tuple("0" if value == 0 else signed(f"{value:.{digits}e}".replace("e-0", "e-").replace("e+0", "e+")) for value in values)
    decimals = max(0, -math.floor(math.log10(step / factor) + 1e-9))
    return tuple(signed(f"{value / factor:.{decimals}f}") + unit * (value != 0) for value in values)
