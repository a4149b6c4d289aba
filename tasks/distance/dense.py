"""Small problems: all pairs through SciPy, then exact distances of the few pairs that can matter.

No compiled code of ours is needed, so a fresh process answers at once. The result is the one of :mod:`tasks.distance.tree`, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from tasks.distance.cells import Float64
from tasks.distance.records import Int64, Records, measure
from tasks.distance.scale import Scale
from tasks.distance.shadow import Shadow, cast, find_centre, find_gaps

BLOCK_CELLS = 1 << 21  # pairs held at a time: 16 MiB of float64


class Plan(NamedTuple):
    """Columns by how their terms are added, and rounded copies of both tables."""

    plain: list[int]
    odd: list[int]
    query: Shadow
    reference: Shadow


def search(query: Records, reference: Records, k: int, scale: Scale) -> tuple[Float64, Int64]:
    """Find the k closest reference rows of each query row.

    Parameters
    ----------
    query, reference : Records
        n and m rows, encoded together, m >= k.
    k : int
        Number of neighbours.
    scale : Scale
        Fitted scale.

    Returns
    -------
    distances : ndarray of float64, shape (n, k)
        Ascending.
    indices : ndarray of int64, shape (n, k)
        Lowest first among equal distances.
    """
    distances = np.empty((len(query.numeric), k))
    indices = np.empty((len(query.numeric), k), dtype=np.int64)
    for start, stop, left, right, exact in _candidates(query, reference, k, scale):
        order = np.lexsort((right, exact, left))
        first = np.searchsorted(left[order], np.arange(stop - start))
        chosen = order[first[:, None] + np.arange(k)]
        distances[start:stop], indices[start:stop] = exact[chosen], right[chosen]
    return distances, indices


def search_tied(query: Records, reference: Records, scale: Scale) -> tuple[Float64, Int64, Int64]:
    """Find every reference row at the smallest distance of each query row.

    Returns
    -------
    distances : ndarray of float64, shape (n,)
    starts : ndarray of int64, shape (n + 1,)
        Closest rows of query row i are ``indices[starts[i]:starts[i + 1]]``.
    indices : ndarray of int64
        Ascending within a query row.
    """
    n = len(query.numeric)
    distances, counts = np.empty(n), np.zeros(n, dtype=np.int64)
    parts: list[Int64] = []
    for start, stop, left, right, exact in _candidates(query, reference, 1, scale):
        best = np.full(stop - start, np.inf)
        np.minimum.at(best, left, exact)
        tied = exact == best[left]
        distances[start:stop] = best
        counts[start:stop] = np.bincount(left[tied], minlength=stop - start)
        parts.append(right[tied])
    return distances, np.concatenate(([0], np.cumsum(counts))), np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def _candidates(query: Records, reference: Records, k: int, scale: Scale) -> Iterator[tuple[int, int, Int64, Int64, Float64]]:
    """Yield (start, stop, query row - start, reference row, exact distance) of all pairs that can be among the k closest."""
    widths = scale.numeric_widths
    plain, odd = find_gaps(query, reference)
    if scale.metric == "gower":
        both = np.concatenate((query.numeric, reference.numeric))
        over = [j for j in plain if np.ptp(both[:, j]) > widths[j]]
        plain, odd = [j for j in plain if j not in over], odd + over
    centre = find_centre(reference)
    shadows = [cast(table, plain + odd, centre, widths, scale.metric, np.float64) for table in (query, reference)]
    plan = Plan(plain, odd, shadows[0], shadows[1])
    rows = max(1, BLOCK_CELLS // max(1, len(reference.numeric)))
    room = 1 + 8 * (len(scale.names) + 8) * float(np.finfo(np.float64).eps)
    for start in range(0, len(query.numeric), rows):
        stop = min(start + rows, len(query.numeric))
        sums = _add_terms(query, reference, plan, slice(start, stop), scale)
        near = np.partition(sums, k - 1, axis=1)[:, k - 1]
        slack = plan.query.slack[start:stop] + plan.reference.slack.max()
        # the k-th smallest rounded sum bounds the k-th true distance from above, and that bounds the rounded sums that matter
        limit = (np.sqrt(near) + 2 * slack) ** 2 if scale.metric == "l2" else near + 2 * slack
        left, right = np.nonzero(sums <= (limit * room)[:, None])
        exact = measure(query, reference, (left + start, right), widths, scale.metric)
        yield start, stop, left, right, exact


def _add_terms(query: Records, reference: Records, plan: Plan, block: slice, scale: Scale) -> Float64:
    """Return rounded sums of terms (squared for l2), shape (block, m)."""
    cut = len(plan.plain)
    left, right = plan.query.z[block], plan.reference.z
    shape = (len(left), len(right))
    name = "sqeuclidean" if scale.metric == "l2" else "cityblock"
    sums: Float64 = cdist(left[:, :cut], right[:, :cut], name) if cut else np.zeros(shape)
    for position in range(cut, len(plan.plain) + len(plan.odd)):
        x, y = left[:, position, None], right[None, :, position]
        step = np.abs(x - y)
        term = step * step if scale.metric == "l2" else np.minimum(step, 1.0) if scale.metric == "gower" else step
        sums += np.where(np.isnan(term), np.isnan(x) != np.isnan(y), term)
    if query.codes.shape[1]:
        mismatches: npt.NDArray[np.uint16] = np.zeros(shape, dtype=np.uint16)
        for column in range(query.codes.shape[1]):
            mismatches += query.codes[block, column, None] != reference.codes[None, :, column]
        sums += mismatches
    return sums
