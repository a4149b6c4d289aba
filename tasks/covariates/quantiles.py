"""Smoothed quantile functions: the continuous part of a numeric column."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

Float64 = npt.NDArray[np.float64]
Intp = npt.NDArray[np.intp]

SPAN = 5
"""Order statistics that the ends of a safe range are the means of."""
_KNOT_ROWS = 20
_EVEN = ndtri((np.arange(2048) + 0.5) / 2048)
_BIN_GRID = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)


def range_ends(low: float, high: float, unit: float) -> tuple[float, float]:
    """Return the ends of the continuous part: half a unit beyond the outermost grid values inside the safe range."""
    if unit == 0:
        return low, high
    first = np.ceil(low / unit - 1e-6)
    return float((first - 0.5) * unit), float((max(first, np.floor(high / unit + 1e-6)) + 0.5) * unit)


def fit_quantiles(values: Float64, low: float, high: float, fold: Intp) -> tuple[Float64, Float64]:
    """Return the knots of the quantile function on the normal scale.

    Their number is chosen by held-out likelihood over the folds, the fewest within one standard error of the best:
    more knots than the column's shape asks for would trace single rows. So is whether the rows' mean and variance are kept:
    those of a heavy tail are a few rows' own, and would be kept at the price of all other quantiles.
    """
    n = len(values)
    if n < 2 * _KNOT_ROWS:
        return _quantiles(_sorted(values), low, high, 1, True)
    numbers = [bins for bins in _BIN_GRID if bins * _KNOT_ROWS <= n]
    grid = [(bins, moments) for bins in numbers for moments in (True, False)]
    scores = np.empty((len(grid), n))
    for k in np.unique(fold):
        kept, held = _sorted(values[fold != k]), np.flatnonzero(fold == k)
        # in their order, values are found in a table of heights without a guess
        held = held[np.argsort(values[held])]
        inside = values[held]
        for row, bins in enumerate(numbers):
            knots, heights = _knots(kept, low, high, bins)
            scores[2 * row, held] = _log_density(inside, knots, _with_moments(knots, heights, kept))
            scores[2 * row + 1, held] = _log_density(inside, knots, heights)
    best = int(scores.mean(axis=1).argmax())
    lost = scores[best] - scores
    enough = lost.mean(axis=1) <= lost.std(axis=1) / np.sqrt(n)
    bins, moments = grid[int(np.flatnonzero(enough)[0])]
    return _quantiles(_sorted(values), low, high, bins, moments)


class _Sorted(NamedTuple):
    """Values in their order, their mean and standard deviation."""

    values: Float64
    mean: float
    spread: float


def _sorted(values: Float64) -> _Sorted:
    ordered = np.sort(values)
    return _Sorted(ordered, float(ordered.mean()), float(ordered.std())) if len(values) else _Sorted(ordered, 0.0, 0.0)


def _quantiles(ordered: _Sorted, low: float, high: float, bins: int, moments: bool) -> tuple[Float64, Float64]:
    knots, heights = _knots(ordered, low, high, bins)
    return knots, _with_moments(knots, heights, ordered) if moments else heights


def _knots(kept: _Sorted, low: float, high: float, bins: int) -> tuple[Float64, Float64]:
    """Place knots at even ranks and in both tails; heights are means of at least five order statistics, the ends are the safe range."""
    ordered = kept.values
    n = len(ordered)
    if n == 0:
        return np.array([-1.0, 1.0]), np.array([low, high])
    end = float(ndtri(1 - 0.25 / n))
    tails = [SPAN - 1, _KNOT_ROWS]
    even = np.linspace(0, n - 1, bins + 1)[1:-1].astype(np.intp)
    even = even[(even >= 2 * _KNOT_ROWS) & (even < n - 2 * _KNOT_ROWS)]
    ranks = np.unique(np.concatenate(([r for r in tails if r < n // 2], even, [n - 1 - r for r in tails if r < n // 2])).astype(np.intp))
    edge = np.minimum(ranks, n - 1 - ranks)
    # the wider the bin, the more neighbours a knot is the mean of
    half = np.where(edge < 2 * _KNOT_ROWS, np.minimum(edge // 2, 8), max(n // (8 * bins), SPAN // 2))
    inner = np.array([np.add.reduce(ordered[r - h : r + h + 1]) / (2 * h + 1) for r, h in zip(ranks, half, strict=True)])
    scores = ndtri((ranks + 0.5) / n)
    within = (inner > low) & (inner < high)
    knots = np.concatenate(([-end], scores[within], [end]))
    heights = np.maximum.accumulate(np.concatenate(([low], inner[within], [high])))
    return knots, heights


def _with_moments(knots: Float64, heights: Float64, ordered: _Sorted) -> Float64:
    """Move inner heights affinely so that the law has the rows' mean and variance; none leaves the safe range."""
    grid = np.interp(_EVEN, knots, heights)
    if grid.std() == 0 or len(heights) < 4:
        return heights
    factor = float(np.clip(ordered.spread / grid.std(), 0.8, 1.25))
    moved = ordered.mean + factor * (heights - grid.mean())
    return np.concatenate((heights[:1], np.clip(moved[1:-1], heights[0], heights[-1]), heights[-1:]))


def _log_density(values: Float64, knots: Float64, heights: Float64) -> Float64:
    """Return the log density of values under a quantile function, floored far below any that matters."""
    span = heights[-1] - heights[0]
    # a jump of the quantile function is given a width, so that heaps count as dense and not as infinite
    steps = np.maximum(np.diff(heights), 1e-4 * span)
    piece = np.clip(np.searchsorted(heights, values, side="right") - 1, 0, len(steps) - 1)
    inside = np.clip((values - heights[piece]) / steps[piece], 0.0, 1.0)
    width = np.diff(knots)[piece]
    score = knots[piece] + inside * width
    return np.asarray(-0.5 * score**2 + np.log(width * span / steps[piece]))
