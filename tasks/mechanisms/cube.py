"""The cube method: take rows with given chances so that chosen sums come out as expected.

Deville, Tillé (2004), doi:10.1093/biomet/91.4.893; row after row as in Chauvet, Tillé (2006), doi:10.1007/s00180-006-0250-2.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tasks.contract.nuisance import Float64, Int8
from tasks.numerics.compiled import compiled

_LANDED = 1e-9  # a chance this near to 0 or 1 has been decided
_FLAT = 1e-9  # a pivot this small, the largest being 1 or so, is none: the directions are collinear there


def cube(chance: Float64, directions: Float64, order: npt.NDArray[np.intp], rng: np.random.Generator) -> Int8:
    """Decide rows, each with its own chance, so that ``sum (taken - chance) z`` is about zero in every direction z.

    A handful of undecided rows, one more than there are directions, are moved together: along a vector that changes no sum, up or down at
    random until one of them is decided, with probabilities that keep each inclusion probability equal to its expectation. So
    ``P(taken) = chance`` holds exactly, row by row, and what one row of a handful gains the others lose. When fewer rows are left than
    directions, directions are given up from the last: a sum misses by a few rows' worth, whatever n is.

    Parameters
    ----------
    chance : ndarray of float64, shape (n,)
        In [0, 1].
    directions : ndarray of float64, shape (n, p)
        z, the most important first. Scales don't matter; those that follow from others before them are left out.
    order : ndarray of intp, shape (n,)
        Row numbers. Neighbours make up for one another, so what varies smoothly along the order is balanced too; rows with the largest z
        belong first, for the last ones leave the error.
    rng : numpy.random.Generator
        Spent on one number per row.

    Returns
    -------
    ndarray of int8, shape (n,)
        1 where taken, else 0.
    """
    state = chance[order].astype(np.float64)
    _fly(state, np.ascontiguousarray(_independent(directions)[order]), rng.random(len(state)))
    taken = np.empty(len(chance), dtype=np.int8)
    taken[order] = np.rint(state)
    return taken


def _independent(directions: Float64) -> Float64:
    """Return orthogonal directions of mean square one that span the same, in their order; what adds nothing is dropped."""
    kept: list[Float64] = []
    for column in directions.T:
        rest, size = column, float(np.sqrt(np.mean(column**2))) if len(column) else 0.0
        for other in (*kept, *kept):  # twice: once leaves rounding behind
            rest = rest - other * float(np.mean(other * rest))
        left = float(np.sqrt(np.mean(rest**2))) if len(rest) else 0.0
        if left > _FLAT * size:
            kept.append(rest / left)
    return np.column_stack(kept) if kept else np.empty((len(directions), 0))


@compiled
def _null_vector(m, columns, vector):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Write into ``vector`` a non-zero solution of ``m @ vector = 0``; m has one row less than columns, and is used up."""
    rows = m.shape[0]
    width = rows + 1
    for j in range(width):
        columns[j] = j
    rank = 0
    while rank < rows:
        best, at_row, at_column = 0.0, rank, rank
        for i in range(rank, rows):
            for j in range(rank, width):
                if abs(m[i, j]) > best:
                    best, at_row, at_column = abs(m[i, j]), i, j
        if best < _FLAT:
            break
        if at_row != rank:
            for j in range(rank, width):
                m[rank, j], m[at_row, j] = m[at_row, j], m[rank, j]
        if at_column != rank:
            columns[rank], columns[at_column] = columns[at_column], columns[rank]
            for i in range(rows):
                m[i, rank], m[i, at_column] = m[i, at_column], m[i, rank]
        for i in range(rank + 1, rows):
            factor = m[i, rank] / m[rank, rank]
            if factor != 0.0:
                for j in range(rank + 1, width):
                    m[i, j] -= factor * m[rank, j]
        rank += 1
    for j in range(width):
        vector[j] = 0.0
    # the first column without a pivot moves by one, those with a pivot make up for it
    vector[columns[rank]] = 1.0
    for i in range(rank - 1, -1, -1):
        total = m[i, rank]
        for j in range(i + 1, rank):
            total += m[i, j] * vector[columns[j]]
        vector[columns[i]] = -total / m[i, i]


@compiled
def _fly(state, z, spots):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Move chances to 0 or 1 in place, the first undecided rows together; ``spots`` are uniform numbers, one per step."""
    n, p = z.shape
    rows = np.empty(p + 1, dtype=np.int64)
    columns = np.empty(p + 1, dtype=np.int64)
    vector = np.empty(p + 1)
    count, following, step = 0, 0, 0
    while True:
        while count < p + 1 and following < n:
            if _LANDED < state[following] < 1.0 - _LANDED:
                rows[count] = following
                count += 1
            following += 1
        if count == 0:
            break
        m = np.empty((count - 1, count))
        for i in range(count - 1):
            for j in range(count):
                m[i, j] = z[rows[j], i]
        _null_vector(m, columns, vector)
        up, down = np.inf, np.inf
        for j in range(count):
            v, s = vector[j], state[rows[j]]
            if v > 0.0:
                up, down = min(up, (1.0 - s) / v), min(down, s / v)
            elif v < 0.0:
                up, down = min(up, -s / v), min(down, (s - 1.0) / v)
        length = up if spots[step] * (up + down) < down else -down
        step += 1
        kept = 0
        for j in range(count):
            s = state[rows[j]] + length * vector[j]
            state[rows[j]] = min(1.0, max(0.0, s))
            if _LANDED < s < 1.0 - _LANDED:
                rows[kept] = rows[j]
                kept += 1
        count = kept
