"""Search by products where nothing can be skipped: squares of numeric columns without gaps, several queries beside one another.

With q a query's shadow and z a row's, ``|q - z|^2 = |q|^2 + (|z|^2 - 2 q'z)``: one operation a cell in place of two, and every cell of a
leaf that is loaded serves all these queries. What the products lose to cancellation has a bound: a float32 sum of p products and one
norm, in any order, is off by at most ``(p + 4) u (|z|^2 + 2 sum|q_j z_j|)``, which is at most ``(p + 4) u (|q|^2 + 2 |z|^2)`` (Higham 2002,
section 3.1, 10.1137/1.9780898718027; u = 2^-24). Rows within that bound of the best distance are measured exactly, so none is lost.
"""

from __future__ import annotations

import numpy as np

from tasks.distance.boxes import GROUP, LEAF
from tasks.distance.kernels import TILE, _place
from tasks.distance.lanes import BITS, PART, POINTS, lowest, products
from tasks.numerics.compiled import compiled

ROUNDING = 6.0e-8  # a little above the unit roundoff of float32


@compiled(inline=True)
def _limit(best, slack, norm, largest, columns):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Return the largest float32 sum of norm and products that a row at distance ``best`` or less can have."""
    limit = (best + slack) * (best + slack) * (1.0 + 1e-9) - norm + (columns + 4) * ROUNDING * (norm + 2.0 * largest)
    return np.float32(limit + 2.0 * ROUNDING * abs(limit))


@compiled
def _beside(q, begin, stop):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Return -2 q, the cells of ``POINTS`` queries side by side, shape (sets, p, POINTS), and squared norms; 0 behind the last query."""
    sets = (stop - begin + POINTS - 1) // POINTS
    points, norm = np.zeros((sets, q.shape[1], POINTS), np.float32), np.zeros(sets * POINTS)
    for i in range(stop - begin):
        for j in range(q.shape[1]):
            points[i // POINTS, j, i % POINTS] = np.float32(-2.0) * q[begin + i, j]
            norm[i] += np.float64(q[begin + i, j]) * np.float64(q[begin + i, j])
    return points, norm


@compiled
def multiply(task, begin, stop, k, distances, indices):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Search queries ``begin`` to ``stop`` through every leaf; see :func:`tasks.distance.kernels.sweep`."""
    own_slack, leaf_slack, row = task.slack, task.leaf_slack, task.row
    x, y, a, b, widths, metric, starts, rows = task.x, task.y, task.a, task.b, task.widths, task.metric, task.starts, task.rows
    columns, count = task.q.shape[1], stop - begin
    leaves = (y.shape[0] + LEAF - 1) // LEAF  # those behind only fill up the last group
    tile = max(1, TILE // (LEAF * 4 * (columns + 1)))
    points, norm = _beside(task.q, begin, stop)
    # of what is no query no row is within the limit
    limits = np.full(len(norm), -np.inf, np.float32)
    z, beside, norms, bounds = task.z.ctypes.data, points.ctypes.data, task.norms.ctypes.data, limits.ctypes.data
    # queries are neighbours of each other: near leaves first, so that limits fall early
    home = task.home[begin] * GROUP
    for turn in range(0, leaves, tile):
        worst, largest = 0.0, 0.0
        for step in range(turn, min(turn + tile, leaves)):
            leaf = home + step if home + step < leaves else home + step - leaves
            worst, largest = max(worst, leaf_slack[leaf]), max(largest, task.largest[leaf])
        for first in range(0, len(norm), POINTS):
            for i in range(first, min(first + POINTS, count)):
                limits[i] = _limit(distances[begin + i, k - 1], own_slack[begin + i] + worst, norm[i], largest, columns)
            for step in range(turn, min(turn + tile, leaves)):
                leaf = home + step if home + step < leaves else home + step - leaves
                for lane in range(leaf * LEAF, (leaf + 1) * LEAF, PART):
                    place, measured = leaf * columns * LEAF + lane % LEAF, np.uint64(0)
                    mask = products(z, place, beside, first * columns, columns, norms, lane, bounds, first)
                    while mask:
                        bit = lowest(mask)
                        measured |= np.uint64(1) << np.uint64(bit)
                        unique = row[lane + bit % PART]
                        for i in range(first + bit // PART, min(first + POINTS, count) if unique >= 0 else 0, BITS):
                            at = begin + i
                            _place(at, k, unique, x, a, y, b, widths, metric, starts, rows, distances, indices)
                            limits[i] = _limit(distances[at, k - 1], own_slack[at] + worst, norm[i], largest, columns)
                        # sums cost less than one exact distance, and most of the others are beyond the new limit
                        mask = products(z, place, beside, first * columns, columns, norms, lane, bounds, first) & ~measured
