"""Support cells of an outcome: values that rows share, and blocks of neighbouring ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.contract.nuisance import Float64
from tasks.mechanisms.laws.support import FEWEST, Support
from tasks.mechanisms.laws.tails import Tail, find_tails

Int64 = npt.NDArray[np.int64]
Bounds = tuple[float, float, int]  # low, width and points of a cell
_VALUES = 400  # most values with a cell of their own
_BLOCKS = 200  # into which the rows beside them are cut
_ROOT3 = float(np.sqrt(3.0))


class Cells(NamedTuple):
    """Cells in the order of their means; a draw from one is uniform over its points.

    Attributes
    ----------
    low : ndarray of float64, shape (J,)
        Least value.
    width : ndarray of float64, shape (J,)
        Of a cell without grid; 0 where there are points.
    points : ndarray of int64, shape (J,)
        Grid points from ``low`` up; 0 where the cell is an interval.
    step : float
        Distance of grid points.
    decimals : int
        Digits of drawn values; -1 for all.
    """

    low: Float64
    width: Float64
    points: Int64
    step: float
    decimals: int

    @property
    def means(self) -> Float64:
        """Mean of a draw from each cell, shape (J,)."""
        return np.asarray(self.low + np.where(self.points > 0, self.step * (np.maximum(self.points, 1) - 1) / 2.0, self.width / 2.0))


def build_cells(y: Float64, support: Support) -> tuple[Cells, Int64]:
    """Cut the support into cells.

    A value that at least five rows share is a cell of its own (of more than 400 such values those with a two-hundredth of the rows).
    The rows between two of them are cut into blocks of at least five neighbours; fewer rows go to the nearest value. A block is uniform
    with the mean and the spread of its rows, on the grid, within the safe range, and never reaches a value that is its own cell. The five
    outermost rows of an end that is no bound are its tail (:mod:`tasks.mechanisms.laws.tails`); where there is none, rows beyond the safe
    range count at its ends first. So no mean of a block can lead to an outlier.

    Parameters
    ----------
    y : ndarray of float64, shape (n,)
        Outcomes of the source.
    support : Support

    Returns
    -------
    cells : Cells
    cell : ndarray of int64, shape (n,)
        The cell of each row.
    """
    low, high = find_tails(y, support)
    lower = np.zeros(len(y), dtype=np.bool_) if low is None else y <= low.edge
    upper = np.zeros(len(y), dtype=np.bool_) if high is None else y >= high.edge
    inside = np.flatnonzero(~(lower | upper))
    bounds, inner = _inner(np.clip(np.clip(y[inside], *support.inner), support.low, support.high), support, len(y))
    cell = np.full(len(y), -1, dtype=np.int64)
    cell[inside] = inner
    for tail, rows in ((low, lower), (high, upper)):
        if tail is not None:
            cell[rows] = len(bounds)
            bounds.append(_tail(tail, support))
    low_ends, widths = np.array([each[0] for each in bounds]), np.array([each[1] for each in bounds])
    points = np.array([each[2] for each in bounds], dtype=np.int64)
    cells = Cells(low_ends, widths, points, support.step, -1 if support.decimals is None else support.decimals)
    rank = np.argsort(cells.means, kind="stable")
    place = np.empty(len(rank), dtype=np.int64)
    place[rank] = np.arange(len(rank))
    cells = cells._replace(low=low_ends[rank], width=widths[rank], points=points[rank])
    held = np.clip(np.clip(y, *support.inner), support.low, support.high)
    return cells, np.where(cell >= 0, place[cell], _nearest(cells.means, held))


def _inner(held: Float64, support: Support, rows: int) -> tuple[list[Bounds], Int64]:
    """Return low, width and points of the cells of rows in the safe range, and the cell of each, -1 for those of the nearest one.

    Of ``rows`` outcomes in all; the others are of the tails.
    """
    values, counts = np.unique(held, return_counts=True)
    alone = counts >= FEWEST
    if int(alone.sum()) > _VALUES:
        alone = counts >= max(FEWEST, rows / _BLOCKS)
    size = max(FEWEST, rows // _BLOCKS)
    order = np.argsort(held, kind="stable")
    starts = np.concatenate(([0], np.cumsum(counts)))
    cell = np.full(len(held), -1, dtype=np.int64)
    bounds: list[Bounds] = []
    left = 0
    marks = np.flatnonzero(alone)
    for number, mark in enumerate(np.append(marks, len(values))):
        run = order[starts[left] : starts[mark]]
        if len(run) >= FEWEST:
            below = support.low if number == 0 else values[marks[number - 1]] + support.step
            above = support.high if mark == len(values) else values[mark] - support.step
            for piece in np.array_split(run, max(1, len(run) // size)):
                cell[piece] = len(bounds)
                bounds.append(_block(held[piece], below, above, support))
        if mark < len(values):
            cell[order[starts[mark] : starts[mark + 1]]] = len(bounds)
            bounds.append((float(values[mark]), 0.0, 1))
        left = int(mark) + 1
    if not bounds:  # fewer than five rows, all different
        bounds.append(_block(held, support.low, support.high, support))
        cell[:] = 0
    return bounds, cell


def _tail(tail: Tail, support: Support) -> Bounds:
    """Return low, width and points of a tail's cell."""
    below, above = min(tail.start, tail.end), max(tail.start, tail.end)
    return _uniform((below + above) / 2.0, (above - below) / 2.0, below, above, support)


def _block(rows: Float64, below: float, above: float, support: Support) -> Bounds:
    """Return low, width and points of a block with the mean and the spread of its rows."""
    mean = float(np.clip(rows.mean(), below, above))
    return _uniform(mean, min(_ROOT3 * float(rows.std()), mean - below, above - mean), below, above, support)


def _uniform(mean: float, half: float, below: float, above: float, support: Support) -> Bounds:
    """Return low, width and points of a cell around a mean, on the grid, within two ends."""
    if support.step <= 0.0:
        return mean - half, 2.0 * half, 0
    # (k^2 - 1) / 12 is the variance of k points: one more than the interval holds keeps it
    first = round((mean - half - support.origin) / support.step - 1e-9)
    last = max(first, round((mean + half - support.origin) / support.step + 1e-9))
    least, most = (below - support.origin) / support.step, (above - support.origin) / support.step
    first, last = max(first, int(np.ceil(least - 1e-6))), min(last, int(np.floor(most + 1e-6)))
    last = max(first, last)
    low = support.origin + support.step * first
    return (low if support.decimals is None else float(np.round(low, support.decimals))), 0.0, last - first + 1


def _nearest(means: Float64, values: Float64) -> Int64:
    """Return the cell whose mean is closest."""
    right = np.clip(np.searchsorted(means, values), 1, max(len(means) - 1, 1))
    if len(means) == 1:
        return np.zeros(len(values), dtype=np.int64)
    return np.asarray(np.where(values - means[right - 1] <= means[right] - values, right - 1, right), dtype=np.int64)
