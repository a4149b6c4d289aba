"""A binary partition of mixed rows: neighbours in its order are alike.

Each node is cut on the column that is expected to keep two random rows furthest apart: a numeric column at its median, a
categorical one into two sets of levels of about equal weight. The cuts only decide an order and where a query starts; exactness
never depends on them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.distance.cells import Float64
from tasks.distance.records import Int64
from tasks.distance.shadow import Float32

Codes = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]

LEVELS = 256  # codes are taken modulo this
_SAMPLE = 512  # rows a cut is chosen on
_CAP = 4.0  # squared units beyond which an outlier adds nothing to a column's worth


class Cut(NamedTuple):
    """An inner node. Children are node numbers; a negative one is leaf -1 - number of positions.

    Attributes
    ----------
    column : int
        Numeric column, or p + categorical column.
    threshold : float
        Numeric: rows at or below go left, and missing ones.
    levels : ndarray of bool, shape (256,)
        Categorical: levels that go left.
    left, right : int
        Children: a node number, or ``-1 - start`` of a leaf's first position.
    """

    column: int
    threshold: float
    levels: Bool
    left: int
    right: int


class Partition(NamedTuple):
    """An order of rows and the cuts that made it.

    Attributes
    ----------
    order : ndarray of int64, shape (n,)
        Row at each position.
    cuts : list of Cut
        The root is the first one; empty where all rows are in one leaf.
    """

    order: Int64
    cuts: list[Cut]


def divide(z: Float32, codes: Codes, squared: bool, leaf: int) -> Partition:
    """Order rows so that similar rows are neighbours.

    Parameters
    ----------
    z : ndarray of float32, shape (n, p)
        Scaled numeric cells, NaN where missing.
    codes : ndarray of uint8, shape (n, c)
        Categorical codes.
    squared : bool
        Whether the metric adds squares.
    leaf : int
        Parts of at most this many rows are left alone.

    Returns
    -------
    Partition
    """
    order = np.arange(len(z), dtype=np.int64)
    cuts: list[Cut] = []
    # a stack, not recursion: rare levels split off one by one make deep trees
    pending = [(0, len(z), -1, False)]
    while pending:
        start, stop, parent, to_left = pending.pop()
        part = order[start:stop]
        division = _find_cut(z, codes, part, squared) if stop - start > leaf else None
        if division is None:
            number = -1 - start
        else:
            number = len(cuts)
            column, threshold, levels, goes_left = division
            order[start:stop] = np.concatenate((part[goes_left], part[~goes_left]))
            middle = start + int(goes_left.sum())
            cuts.append(Cut(column, threshold, levels, 0, 0))
            pending += [(middle, stop, number, False), (start, middle, number, True)]
        if parent >= 0:
            cuts[parent] = cuts[parent]._replace(left=number) if to_left else cuts[parent]._replace(right=number)
    return Partition(order, cuts)


def locate(partition: Partition, z: Float32, codes: Codes) -> Int64:
    """Send rows down the cuts and return the first position of the leaf each arrives at, shape (n,)."""
    position = np.zeros(len(z), dtype=np.int64)
    pending = [(0, np.arange(len(z), dtype=np.int64))] if partition.cuts else []
    while pending:
        number, rows = pending.pop()
        if number < 0:
            position[rows] = -1 - number
        elif len(rows):
            cut = partition.cuts[number]
            goes_left = _goes_left(z, codes, rows, cut.column, cut.threshold, cut.levels)
            pending += [(cut.left, rows[goes_left]), (cut.right, rows[~goes_left])]
    return position


def _find_cut(z: Float32, codes: Codes, part: Int64, squared: bool) -> tuple[int, float, Bool, Bool] | None:
    """Return (column, threshold, levels, which rows of the part go left), or None where no cut parts the rows."""
    some = part[:: max(1, len(part) // _SAMPLE)]
    sample = z[some]
    worth, counts = _categorical_worth(codes[some])
    weights = np.concatenate((_numeric_worth(sample, squared), worth))
    for column in np.argsort(-weights, kind="stable").tolist():
        if weights[column] <= 0:
            return None
        threshold, levels = 0.0, _NO_LEVELS
        if column < z.shape[1]:
            present = sample[:, column]
            present = np.sort(present[~np.isnan(present)])
            threshold = float(present[(len(present) - 1) // 2])
        else:
            levels = _half_of_levels(counts[column - z.shape[1]])
        goes_left = _goes_left(z, codes, part, column, threshold, levels)
        if column < z.shape[1] and goes_left.all():
            # many rows at the largest value: cut just below it
            below = np.float32(threshold)
            threshold = float(np.nextafter(below, np.float32(-np.inf)))
            goes_left = _goes_left(z, codes, part, column, threshold, levels)
        if 0 < int(goes_left.sum()) < len(part):
            return column, threshold, levels, goes_left
    return None


def _numeric_worth(sample: Float32, squared: bool) -> Float64:
    """Half the mean (squared) distance to the middle: what a cut there keeps two random rows apart, at most."""
    if not sample.shape[1]:
        return np.empty(0)
    present = ~np.isnan(sample)
    count = np.maximum(present.sum(axis=0), 1)
    filled = np.where(present, sample, 0).astype(np.float64)
    step = np.where(present, np.abs(filled - filled.sum(axis=0) / count), 0.0)
    term = np.minimum(step * step, _CAP) if squared else np.minimum(step, np.sqrt(_CAP))
    return np.asarray(0.5 * term.mean(axis=0))


def _categorical_worth(sample: Codes) -> tuple[Float64, Int64]:
    """Chance that two random rows fall on different sides of the most even cut of levels; and the counts (c, 256)."""
    columns = sample.shape[1]
    flat = sample.astype(np.int64) + LEVELS * np.arange(columns)
    counts = np.bincount(flat.ravel(), minlength=LEVELS * columns).reshape(columns, LEVELS)
    share = -np.sort(-counts, axis=1)[:, :16].cumsum(axis=1) / len(sample)
    # an all-in-one level sums to 1 at once and gives no split
    return np.asarray((2 * share * (1 - share)).max(axis=1)) if columns else np.empty(0), counts


def _half_of_levels(counts: Int64) -> Bool:
    """Return the most frequent levels that together come closest to half the rows."""
    ranked = np.argsort(-counts, kind="stable")
    share = counts[ranked].cumsum() / counts.sum()
    levels = np.zeros(LEVELS, dtype=bool)
    levels[ranked[: int(np.argmax(share[:16] * (1 - share[:16]))) + 1]] = True
    return levels


def _goes_left(z: Float32, codes: Codes, rows: Int64, column: int, threshold: float, levels: Bool) -> Bool:
    if column < z.shape[1]:
        return np.asarray(~(z[rows, column] > np.float32(threshold)))
    return np.asarray(levels[codes[rows, column - z.shape[1]]])


_NO_LEVELS = np.zeros(LEVELS, dtype=bool)
