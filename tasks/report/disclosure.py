"""What may be shown of counts: cells are merged until none of them tells of one to four rows."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from tasks.contract.disclosure import SMALLEST_CELL
from tasks.contract.disclosure import rounded as rounded_count

Int64 = npt.NDArray[np.int64]


def small(counts: Int64) -> npt.NDArray[np.bool_]:
    """Return which counts would give single rows away: 1 to 4. A cell without rows tells of nobody."""
    return np.asarray((counts > 0) & (counts < SMALLEST_CELL), dtype=np.bool_)


def groups(counts: Int64) -> list[slice]:
    """Merge neighbouring cells until each holds no row or at least five, in every series.

    Nothing is hidden, so nothing can be found by subtraction from a total: the sums over groups are all there is.

    Parameters
    ----------
    counts : ndarray of int64, shape (series, cells)
        Rows by cell, the cells in their order; at least one cell.

    Returns
    -------
    list of slice
        Runs of cells, in order, together all of them. One run is left where a series has fewer than five rows.
    """
    edges = list(range(counts.shape[1] + 1))
    while len(edges) > 2:
        sums = np.add.reduceat(counts, edges[:-1], axis=1)
        bad = np.flatnonzero(small(sums).any(axis=0))
        if len(bad) == 0:
            break
        at, total = int(bad[0]), sums.sum(axis=0)
        # the emptier neighbour: it loses the least detail
        left = at > 0 and (at == len(total) - 1 or total[at - 1] <= total[at + 1])
        del edges[at if left else at + 1]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


def folded(counts: Int64, most: int) -> npt.NDArray[np.bool_]:
    """Choose the cells of a category that are shown together as "other".

    Parameters
    ----------
    counts : ndarray of int64, shape (series, cells)
        Rows by level; the first series decides which levels are large.
    most : int
        Most levels shown by themselves.

    Returns
    -------
    ndarray of bool, shape (cells,)
        True for levels that are folded. Neither a level shown nor all folded ones together have one to four rows of a series, unless
        all levels are folded.
    """
    together = np.asarray(small(counts).any(axis=0), dtype=np.bool_)
    by_size = np.lexsort((np.arange(counts.shape[1]), -counts[0]))
    if counts.shape[1] > most:
        together[by_size[most - 1 :]] = True
    for level in by_size[::-1]:
        if not (together.any() and small(counts[:, together].sum(axis=1)).any()):
            break
        together[level] = True
    return together


def rounded(count: int | None) -> int | None:
    """Round a count, where there is one; see :func:`tasks.contract.disclosure.rounded`."""
    return None if count is None else rounded_count(count)
