"""A forest of boosted trees as flat arrays, and the compiled walk that sums its leaves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.contract.nuisance import Float64
from tasks.numerics.compiled import compiled

MISSING = 255  # the bin of missing cells: a column has at most 255 others
_WORDS = 8  # words of 64 bits, one bit for a leaf, that a row narrows down at a time


@dataclass(frozen=True)
class Forest:
    """Regression trees over the bins of a float64 matrix.

    The bin of a cell is the number of its column's edges below it, or :data:`MISSING`. A split is the set of bins that
    go left, so that numbers, categories and missing cells take one and the same step. Leaves are numbered from left to
    right, so that what is left and right of a split are two neighbouring spans of leaves.

    Attributes
    ----------
    columns : ndarray of int32, shape (c,)
        Columns of the matrix that some tree asks for.
    starts : ndarray of int32, shape (c + 1,)
        Where each column's edges start.
    edges : ndarray of float64
        Increasing within a column, at most 254 of them.
    splits, leaves : ndarray of int32, shape (t + 1,)
        Where each tree's splits and leaves start.
    column : ndarray of int32, shape (s,)
        Of each split: which of ``columns`` it asks for.
    bins : ndarray of uint32, shape (s, 8)
        Of each split: one bit for each bin, set if it goes left.
    span : ndarray of uint8, shape (s, 3)
        Of each split: first leaf on its left, first leaf on its right, and the one after the last, counted in its tree.
    value : ndarray of float64
        Of each leaf: what it adds.
    baseline : float
        What the sum starts from.

    References
    ----------
    The leaf a row falls into is what all splits leave over, as in Lucchese et al. (2015), QuickScorer,
    doi:10.1145/2766462.2767733; here one look-up by column and bin stands for all splits on that column.
    """

    columns: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int32]
    edges: Float64
    splits: npt.NDArray[np.int32]
    leaves: npt.NDArray[np.int32]
    column: npt.NDArray[np.int32]
    bins: npt.NDArray[np.uint32]
    span: npt.NDArray[np.uint8]
    value: Float64
    baseline: float

    def total(self, matrix: Float64) -> Float64:
        """Return baseline plus leaves, added in the order of the trees, shape (n,), of a matrix of shape (n, d)."""
        cells = np.empty((len(self.columns), len(matrix)), dtype=np.uint8)
        # Numba compiles once more for arrays that may not be written, as those are that come out of a message: copy them
        columns, starts, edges = self.columns.copy(), self.starts.copy(), self.edges.copy()
        sort_in(np.require(matrix.T, requirements=["C", "W"]), columns, starts, edges, cells)
        out = np.empty(len(matrix))
        self.add_leaves(cells, out)
        return out

    def add_leaves(self, cells: npt.NDArray[np.uint8], out: Float64) -> None:
        """Write baseline plus leaves to ``out``, shape (n,), of rows whose bins are known: ``cells`` of shape (c, n)."""
        out[:] = self.baseline
        trees = (self.starts, self.splits, self.leaves, self.column, self.bins, self.span, self.value)
        _add(cells, *(part.copy() for part in trees), out)

    def product(self, rows: Float64, others: Float64) -> Float64:
        """Return baseline plus leaves of every row with some columns of every other row, shape (n, m).

        Parameters
        ----------
        rows : ndarray of float64, shape (n, d)
        others : ndarray of float64, shape (m, d)
            The columns in which they differ from one another replace those of each row.
        """
        columns, starts, edges = self.columns.copy(), self.starts.copy(), self.edges.copy()
        cells, replacing = np.empty((len(columns), len(rows)), dtype=np.uint8), np.empty((len(columns), len(others)), dtype=np.uint8)
        sort_in(np.require(rows.T, requirements=["C", "W"]), columns, starts, edges, cells)
        sort_in(np.require(others.T, requirements=["C", "W"]), columns, starts, edges, replacing)
        replaced = (replacing != replacing[:, :1]).any(axis=1)
        out = np.full((len(rows), len(others)), self.baseline)
        trees = (self.starts, self.splits, self.leaves, self.column, self.bins, self.span, self.value)
        _add_product(cells, replacing, replaced, *(part.copy() for part in trees), out)
        return out


@compiled
def sort_in(matrix, columns, starts, edges, cells):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Write the bin of every cell of a matrix handed over by columns; missing ones come after the others."""
    for j in range(columns.shape[0]):
        first, count = starts[j], starts[j + 1] - starts[j]
        for i in range(cells.shape[1]):
            cell = matrix[columns[j], i]
            low, size = first, count
            # halving without branches: random cells would make the processor guess wrong every other time
            while size > 0:
                half = (size + 1) >> 1
                low = low + half if edges[low + half - 1] < cell else low
                size -= half
            cells[j, i] = count + 1 if np.isnan(cell) else low - first


@compiled
def _lift(first, leaves, value, full, worth):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Lay out the leaves of as many trees as the words hold, whole bytes each; return the tree after them and the words in use."""
    full[:] = np.uint64(0)
    worth[:] = 0.0
    byte, tree = 0, first
    while tree < leaves.shape[0] - 1:
        count = leaves[tree + 1] - leaves[tree]
        if byte + ((count + 7) >> 3) > 8 * _WORDS:
            break
        for leaf in range(count):
            bit = 8 * byte + leaf
            full[bit >> 6] |= np.uint64(1) << np.uint64(bit & 63)
            worth[bit >> 3, bit & 7] = value[leaves[tree] + leaf]
        byte += (count + 7) >> 3
        tree += 1
    return tree, (byte + 7) >> 3


@compiled
def _narrow(first, last, starts, splits, leaves, column, bins, span, full, reach):  # type: ignore[no-untyped-def]  # typed by Numba
    """Write for every column and bin which leaves of the trees ``first`` to ``last`` a row with that bin can still reach."""
    sides = np.empty((2, _WORDS), np.uint64)
    for at in range(reach.shape[0]):
        reach[at] = full
    byte = 0
    for tree in range(first, last):
        for split in range(splits[tree], splits[tree + 1]):
            sides[:] = ~np.uint64(0)
            for leaf in range(span[split, 0], span[split, 2]):
                bit = 8 * byte + leaf
                # a row that goes left (side 1) loses the leaves on the right
                sides[np.int64(leaf >= span[split, 1]), bit >> 6] &= ~(np.uint64(1) << np.uint64(bit & 63))
            low = (8 * byte + span[split, 0]) >> 6
            high = ((8 * byte + span[split, 2] - 1) >> 6) + 1
            j = column[split]
            count = starts[j + 1] - starts[j]
            for cell in range(count + 2):
                place = cell if cell <= count else MISSING
                side = np.int64((bins[split, place >> 5] >> np.uint32(place & 31)) & np.uint32(1))
                for word in range(low, high):
                    reach[starts[j] + 2 * j + cell, word] &= sides[side, word]
        byte += (leaves[tree + 1] - leaves[tree] + 7) >> 3


@compiled
def _room(starts, columns):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Make room for leaves that are left, of all rows and of one, their values, and those of each bin; and number a byte's single bits."""
    full, acc = np.empty(_WORDS, np.uint64), np.empty(_WORDS, np.uint64)
    worth = np.empty((8 * _WORDS, 9))  # the last place answers for a byte without a leaf
    reach = np.empty((starts[-1] + 2 * columns, _WORDS), np.uint64)
    ranks = np.full(256, 8, np.uint8)
    for bit in range(8):
        ranks[1 << bit] = bit
    return full, acc, worth, reach, ranks


@compiled
def _add(cells, starts, splits, leaves, column, bins, span, value, out):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Add to ``out`` the leaf of every tree that each row falls into."""
    full, acc, worth, reach, ranks = _room(starts, cells.shape[0])
    first = 0
    while first < leaves.shape[0] - 1:
        last, words = _lift(first, leaves, value, full, worth)
        _narrow(first, last, starts, splits, leaves, column, bins, span, full, reach)
        for i in range(out.shape[0]):
            acc[:] = full
            for j in range(cells.shape[0]):
                at = starts[j] + 2 * j + np.int32(cells[j, i])
                for word in range(_WORDS):
                    acc[word] &= reach[at, word]
            total = out[i]
            for word in range(words):
                left = acc[word]
                for byte in range(8):
                    total += worth[8 * word + byte, ranks[left & np.uint64(255)]]
                    left >>= np.uint64(8)
            out[i] = total
        first = last


@compiled
def _add_product(  # type: ignore[no-untyped-def]  # typed by Numba at the call
    cells, replacing, replaced, starts, splits, leaves, column, bins, span, value, out
):
    """Add to ``out`` the leaves of every row with the replaced columns of every other row.

    The leaves that a row can reach by the columns which stay are found once. Only trees in which more than one is left are looked
    at again for each other row.
    """
    full, acc, worth, reach, ranks = _room(starts, cells.shape[0])
    allowed = np.empty((replacing.shape[1], 8 * _WORDS), np.uint8)
    alone = np.empty(8 * _WORDS, np.bool_)
    places, seen = np.empty(8 * _WORDS, np.int64), np.empty(8 * _WORDS, np.uint8)
    first = 0
    while first < leaves.shape[0] - 1:
        last, words = _lift(first, leaves, value, full, worth)
        _narrow(first, last, starts, splits, leaves, column, bins, span, full, reach)
        byte = 0
        for tree in range(first, last):
            size = (leaves[tree + 1] - leaves[tree] + 7) >> 3
            alone[byte : byte + size] = size == 1
            byte += size
        for other in range(replacing.shape[1]):
            acc[:] = full
            for j in range(cells.shape[0]):
                if replaced[j]:
                    acc &= reach[starts[j] + 2 * j + np.int32(replacing[j, other])]
            for at in range(byte):
                allowed[other, at] = (acc[at >> 3] >> np.uint64(8 * (at & 7))) & np.uint64(255)
        for i in range(out.shape[0]):
            acc[:] = full
            for j in range(cells.shape[0]):
                if not replaced[j]:
                    at = starts[j] + 2 * j + np.int32(cells[j, i])
                    for word in range(words):
                        acc[word] &= reach[at, word]
            fixed, count = 0.0, 0
            for at in range(byte):
                left = np.uint8((acc[at >> 3] >> np.uint64(8 * (at & 7))) & np.uint64(255))
                # of a tree that lies in one byte, the only leaf that is left is the row's in every case
                if alone[at] and ranks[left] < 8:
                    fixed += worth[at, ranks[left]]
                else:
                    places[count], seen[count] = at, left
                    count += 1
            for other in range(out.shape[1]):
                total = fixed
                for k in range(count):
                    total += worth[places[k], ranks[seen[k] & allowed[other, places[k]]]]
                out[i, other] += total
        first = last
