"""Exponential tilts of leaf laws on a grid of tilts, and the compiled draws from them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tasks.contract.nuisance import Float64
from tasks.mechanisms.laws.cells import Cells
from tasks.mechanisms.laws.trees import Int64, Trees
from tasks.numerics.compiled import compiled

#: lambda times the standard deviation of the tilted statistic under the leaf's law.
TILTS = np.concatenate(([-4.0, -3.0, -2.5], np.arange(-16, 17) / 8.0, [2.5, 3.0, 4.0]))
#: Columns of a table: the tilts, and at either end the law of the outermost cell alone (arms' laws only).
WIDTH = len(TILTS) + 2


class Tables(NamedTuple):
    """Tilted laws of all nodes.

    Attributes
    ----------
    means : ndarray of float64, shape (nodes, WIDTH)
        Of the tilted laws, never falling; NaN where a law does not exist.
    below : ndarray of float64, shape (K, WIDTH)
        Cumulated shares of the cells of all nodes, one after the other as in :class:`Trees`.
    """

    means: Float64
    below: Float64


class Placed(NamedTuple):
    """Where rows are in the tables: the law of a row is (1 - share) that of column ``at`` plus share that of the next one.

    Attributes
    ----------
    node, at : ndarray of int64, shape (n,)
    share : ndarray of float64, shape (n,)
    """

    node: Int64
    at: Int64
    share: Float64


def tabulate(trees: Trees, cells: Cells, statistic: Float64) -> Tables:
    """Tilt every node's law: p*_j proportional to p_j exp(lambda t_j) on a grid of lambda.

    Parameters
    ----------
    trees : Trees
    cells : Cells
    statistic : ndarray of float64, shape (J,)
        t_j, rising with the cells' means.
    """
    nodes = len(trees.feature)
    means, below = np.full((nodes, WIDTH), np.nan), np.zeros((len(trees.cell), WIDTH))
    _tabulate(trees.start, trees.cell, trees.weight, cells.means, statistic, TILTS, trees.parent, means, below)
    return Tables(means, below)


def place(tables: Tables, trees: Trees, leaf: Int64, mean: Float64) -> Placed:
    """Find the two neighbouring tilts between whose means each row's mean lies, in its leaf or the closest ancestor that has them.

    Two neighbouring tilts mixed so that the mean is met have it exactly; their mixture differs from the tilt in between by less than
    0.5 % of the variance.
    """
    placed = Placed(leaf.copy(), np.zeros(len(leaf), dtype=np.int64), np.zeros(len(leaf)))
    _place(tables.means, trees.parent, mean, placed.node, placed.at, placed.share)
    return placed


def quantiles(tables: Tables, trees: Trees, cells: Cells, placed: Placed, u: Float64) -> Float64:
    """Return the outcomes at uniform numbers, shape (n,)."""
    out = np.empty(len(u))
    _quantiles(tables.below, trees.start, trees.cell, *placed, cells.low, cells.width, cells.points, cells.step, u, out)
    # sums of whole numbers are exact already
    return out if cells.decimals <= 0 else np.round(out, cells.decimals)


def partials(tables: Tables, trees: Trees, cells: Cells, placed: Placed, u: Float64) -> Float64:
    """Return E[Y; U < u], shape (n,)."""
    out = np.empty(len(u))
    _partials(tables.below, trees.start, trees.cell, *placed, cells.means, cells.low, cells.width, cells.points, cells.step, u, out)
    return out


@compiled
def _tabulate(start, cell, weight, centre, statistic, tilts, parent, means, below):  # type: ignore[no-untyped-def]  # typed by Numba
    count = tilts.shape[0]
    for node in range(parent.shape[0]):
        first, last = start[node], start[node + 1]
        middle, square = 0.0, 0.0
        for k in range(first, last):
            middle += weight[k] * statistic[cell[k]]
        for k in range(first, last):
            square += weight[k] * (statistic[cell[k]] - middle) ** 2
        spread = np.sqrt(square)
        for g in range(count):
            rate = tilts[g] / spread if spread > 0.0 else 0.0
            most = -np.inf
            for k in range(first, last):
                most = max(most, rate * (statistic[cell[k]] - middle))
            total = 0.0
            for k in range(first, last):
                total += weight[k] * np.exp(rate * (statistic[cell[k]] - middle) - most)
                below[k, g + 1] = total
            value, before = 0.0, 0.0
            for k in range(first, last):
                below[k, g + 1] = 1.0 if k == last - 1 else min(below[k, g + 1] / total, 1.0)
                value += (below[k, g + 1] - before) * centre[cell[k]]
                before = below[k, g + 1]
            means[node, g + 1] = value if g == 0 else max(value, means[node, g])
        if parent[node] < 0:
            for k in range(first, last):
                below[k, 0] = 1.0
            below[last - 1, count + 1] = 1.0
            means[node, 0], means[node, count + 1] = centre[cell[first]], centre[cell[last - 1]]


@compiled
def _place(means, parent, mean, node, at, share):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    width = means.shape[1]
    for i in range(node.shape[0]):
        here = node[i]
        while parent[here] >= 0 and not means[here, 1] <= mean[i] <= means[here, width - 2]:
            here = parent[here]
        low, high = (0, width - 1) if parent[here] < 0 else (1, width - 2)
        # the last column but one whose mean is not above the row's
        while high - low > 1:
            half = (low + high) // 2
            if means[here, half] <= mean[i]:
                low = half
            else:
                high = half
        gap = means[here, low + 1] - means[here, low]
        node[i], at[i] = here, low
        share[i] = min(max((mean[i] - means[here, low]) / gap, 0.0), 1.0) if gap > 0.0 else 0.0


@compiled
def _find(below, first, last, at, share, u):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Return the first cell whose cumulated share is above u, and that share before and after it."""
    low, high = first, last - 1
    while low < high:
        half = (low + high) // 2
        if (1.0 - share) * below[half, at] + share * below[half, at + 1] > u:
            high = half
        else:
            low = half + 1
    before = (1.0 - share) * below[low - 1, at] + share * below[low - 1, at + 1] if low > first else 0.0
    return low, before, (1.0 - share) * below[low, at] + share * below[low, at + 1]


@compiled
def _quantiles(below, start, cell, node, at, share, low, width, points, step, u, out):  # type: ignore[no-untyped-def]  # typed by Numba
    for i in range(u.shape[0]):
        k, before, after = _find(below, start[node[i]], start[node[i] + 1], at[i], share[i], u[i])
        place = min(max((u[i] - before) / (after - before), 0.0), 1.0) if after > before else 0.0
        j = cell[k]
        if points[j] > 0:
            out[i] = low[j] + step * min(int(place * points[j]), points[j] - 1)
        else:
            out[i] = low[j] + width[j] * place


@compiled
def _partials(below, start, cell, node, at, share, means, low, width, points, step, u, out):  # type: ignore[no-untyped-def]  # typed by Numba
    for i in range(u.shape[0]):
        first = start[node[i]]
        k, before, after = _find(below, first, start[node[i] + 1], at[i], share[i], u[i])
        total, past = 0.0, 0.0
        for other in range(first, k):
            here = (1.0 - share[i]) * below[other, at[i]] + share[i] * below[other, at[i] + 1]
            total += (here - past) * means[cell[other]]
            past = here
        place = min(max((u[i] - before) / (after - before), 0.0), 1.0) if after > before else 0.0
        j = cell[k]
        if points[j] > 0:
            reached = place * points[j]
            full = np.floor(reached)
            inside = full * low[j] + step * full * (full - 1.0) / 2.0 + (reached - full) * (low[j] + step * full)
            out[i] = total + (after - before) * inside / points[j]
        else:
            out[i] = total + (after - before) * (low[j] * place + width[j] * place * place / 2.0)
