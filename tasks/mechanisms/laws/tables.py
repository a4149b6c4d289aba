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
#: Rows that are searched in step: each waits for memory, and so many wait together.
_TOGETHER = 64
#: Columns of a table: the tilts, and at either end the law of the outermost cell alone (arms' laws only).
WIDTH = len(TILTS) + 2


class Tables(NamedTuple):
    """Tilted laws of all nodes.

    Attributes
    ----------
    means : ndarray of float64, shape (nodes, WIDTH)
        Of the tilted laws, never falling; NaN where a law does not exist.
    below : ndarray of float64, shape (K * WIDTH,)
        Cumulated shares of cells: node after node as in :class:`Trees`, column after column within a node, so that a search reads
        neighbours.
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
    means, below = np.full((nodes, WIDTH), np.nan), np.zeros(len(trees.cell) * WIDTH)
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
        size = last - first
        here = below[first * (count + 2) : last * (count + 2)].reshape(count + 2, size)
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
                here[g + 1, k - first] = total
            value, before = 0.0, 0.0
            for k in range(size):
                here[g + 1, k] = 1.0 if k == size - 1 else min(here[g + 1, k] / total, 1.0)
                value += (here[g + 1, k] - before) * centre[cell[first + k]]
                before = here[g + 1, k]
            means[node, g + 1] = value if g == 0 else max(value, means[node, g])
        if parent[node] < 0:
            here[0, :] = 1.0
            here[count + 1, size - 1] = 1.0
            means[node, 0], means[node, count + 1] = centre[cell[first]], centre[cell[last - 1]]


@compiled
def _place(means, parent, mean, node, at, share):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    last = means.shape[1] - 2
    size = np.empty(_TOGETHER, dtype=np.int64)
    for begin in range(0, node.shape[0], _TOGETHER):
        end, most = min(begin + _TOGETHER, node.shape[0]), last + 1
        for i in range(begin, end):
            here = node[i]
            while parent[here] >= 0 and not means[here, 1] <= mean[i] <= means[here, last]:
                here = parent[here]
            node[i], at[i] = here, int(parent[here] >= 0)
            size[i - begin] = last + 1 - 2 * at[i]
        # the last column but one whose mean is not above the row's
        while most > 1:
            most -= most // 2
            for i in range(begin, end):
                half = size[i - begin] // 2
                at[i] += half * int(means[node[i], at[i] + half] <= mean[i])
                size[i - begin] -= half
        for i in range(begin, end):
            low = means[node[i], at[i]]
            gap = means[node[i], at[i] + 1] - low
            share[i] = min(max((mean[i] - low) / gap, 0.0), 1.0) if gap > 0.0 else 0.0


@compiled
def _find(below, start, node, at, share, u, base, lower):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Write for each row where its two columns start, and its first cell whose cumulated share is above u."""
    size, most = np.empty(u.shape[0], dtype=np.int64), 0
    for i in range(u.shape[0]):
        size[i] = start[node[i] + 1] - start[node[i]]
        base[i], lower[i] = start[node[i]] * WIDTH + at[i] * size[i], 0
        most = max(most, size[i])
    count = size.copy()
    while most > 1:
        most -= most // 2
        for i in range(u.shape[0]):
            half = count[i] // 2
            k = base[i] + lower[i] + max(half, 1) - 1
            lower[i] += half * int((1.0 - share[i]) * below[k] + share[i] * below[k + size[i]] <= u[i])
            count[i] -= half


@compiled
def _shares(below, base, size, share, k):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Return the cumulated share before and after a cell."""
    at = base + k
    before = (1.0 - share) * below[at - 1] + share * below[at + size - 1] if k > 0 else 0.0
    return before, (1.0 - share) * below[at] + share * below[at + size]


@compiled
def _quantiles(below, start, cell, node, at, share, low, width, points, step, u, out):  # type: ignore[no-untyped-def]  # typed by Numba
    base, lower = np.empty(_TOGETHER, dtype=np.int64), np.empty(_TOGETHER, dtype=np.int64)
    for begin in range(0, u.shape[0], _TOGETHER):
        end = min(begin + _TOGETHER, u.shape[0])
        _find(below, start, node[begin:end], at[begin:end], share[begin:end], u[begin:end], base, lower)
        for i in range(begin, end):
            k, first, size = lower[i - begin], start[node[i]], start[node[i] + 1] - start[node[i]]
            before, after = _shares(below, base[i - begin], size, share[i], k)
            place = min(max((u[i] - before) / (after - before), 0.0), 1.0) if after > before else 0.0
            j = cell[first + k]
            if points[j] > 0:
                out[i] = low[j] + step * min(int(place * points[j]), points[j] - 1)
            else:
                out[i] = low[j] + width[j] * place


@compiled
def _partials(below, start, cell, node, at, share, means, low, width, points, step, u, out):  # type: ignore[no-untyped-def]  # typed by Numba
    base, lower = np.empty(u.shape[0], dtype=np.int64), np.empty(u.shape[0], dtype=np.int64)
    _find(below, start, node, at, share, u, base, lower)
    for i in range(u.shape[0]):
        k, first, size = lower[i], start[node[i]], start[node[i] + 1] - start[node[i]]
        total, past = 0.0, 0.0
        for other in range(k):
            here = _shares(below, base[i], size, share[i], other)[1]
            total += (here - past) * means[cell[first + other]]
            past = here
        before, after = _shares(below, base[i], size, share[i], k)
        place = min(max((u[i] - before) / (after - before), 0.0), 1.0) if after > before else 0.0
        j = cell[first + k]
        if points[j] > 0:
            reached = place * points[j]
            full = np.floor(reached)
            inside = full * low[j] + step * full * (full - 1.0) / 2.0 + (reached - full) * (low[j] + step * full)
            out[i] = total + (after - before) * inside / points[j]
        else:
            out[i] = total + (after - before) * (low[j] * place + width[j] * place * place / 2.0)
