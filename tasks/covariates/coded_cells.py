"""Linear indices of coded cells, and codes of their predictors, without the matrix that holds them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tasks.covariates.margins import Coded, Float64
from tasks.covariates.predictors import MOST_SQUARE, Block, Index
from tasks.numerics.compiled import compiled

_ROOT = np.sqrt(2.0)
_ROWS_AT_ONCE = 1_024


def predict_indices(blocks: Sequence[Block], indices: Sequence[Index], drawn: Sequence[Coded], n: int) -> Float64:
    """Return linear predictions of coded cells.

    Parameters
    ----------
    blocks : sequence of Block
        How each drawn column enters a design, as in :func:`tasks.covariates.predictors.expand`.
    indices : sequence of Index
        Fitted on that design.
    drawn : sequence of Coded
        The columns, n cells each.
    n : int
        Rows.

    Returns
    -------
    ndarray of float64, shape (n, targets)
        What :meth:`tasks.covariates.predictors.Index.predict` says of the design, up to rounding, index by index. Sums are added in the
        order of the columns: the same on every processor.
    """
    slope = np.column_stack([index.slope for index in indices])
    out = np.tile(np.concatenate([index.level for index in indices]), (n, 1))
    start = 0
    for block, cells in zip(blocks, drawn, strict=True):
        rise = slope[start : start + block.table.shape[1]]
        worth = _worth(block.table, rise)
        _add_cells(cells.state, cells.score, worth, block.smooth, _scored(rise), out)
        start += len(rise)
    return out


def _worth(table: Float64, rise: Float64) -> Float64:
    """Return what each state adds, shape (states + 1, targets), in an order of sums that no library decides."""
    return np.asarray((table[:, :, None] * rise[None]).sum(axis=1))


def _scored(rise: Float64) -> Float64:
    """Return the slopes of score and square, shape (2, targets); of a category, which has no score, they are not asked for."""
    return np.ascontiguousarray(rise[:2]) if len(rise) > 1 else np.vstack((rise[:1], np.zeros((1, rise.shape[1]))))


def code_cells(block: Block, cells: Coded, kept: npt.NDArray[np.bool_], edges: Float64, out: npt.NDArray[np.uint8]) -> None:
    """Write the number of edges below each predictor of a column's cells.

    Parameters
    ----------
    block : Block
    cells : Coded
        n cells.
    kept : ndarray of bool, shape (k,)
        The block's predictors that are wanted, never the square of the score.
    edges : ndarray of float64, shape (wanted, 2^b - 1)
        Sorted, padded with infinity.
    out : ndarray of uint8, shape (wanted, n)
    """
    table = np.ascontiguousarray(block.table[:, kept])
    coded = np.empty((table.shape[1], len(table)), dtype=np.uint8)
    encode(table, edges, coded)
    _code(cells.state, cells.score, coded, block.table[:, 0].copy(), block.smooth, edges, out)


@compiled(inline=True)
def capped_square(score):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Return the second predictor of a continuous cell, as :func:`tasks.covariates.predictors.expand` has it."""
    return (min(score * score, MOST_SQUARE) - 1.0) / _ROOT


@compiled
def _add_cells(state, score, worth, smooth, scored, out):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Add what each cell is worth to the sums (n, targets)."""
    targets = out.shape[1]
    for i in range(out.shape[0]):
        at = state[i] if state[i] >= 0 else worth.shape[0] - 1
        for t in range(targets):
            out[i, t] += worth[at, t]
        if at == smooth:
            x = score[i]
            square = capped_square(x)
            for t in range(targets):
                out[i, t] += x * scored[0, t] + square * scored[1, t]


@compiled
def encode(design, edges, codes):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Write the number of edges below each cell into ``codes`` (p, n); ``edges`` (p, 2^k - 1) are sorted and padded with infinity."""
    for j in range(design.shape[1]):
        _count_below(design[:, j].copy(), edges[j], codes[j])


@compiled
def _count_below(values, edges, out):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Write how many edges lie below each number, by halving; many numbers take the same step, which the processor does at once."""
    place = np.empty(_ROWS_AT_ONCE, dtype=np.int64)
    for start in range(0, len(values), _ROWS_AT_ONCE):
        rows = min(_ROWS_AT_ONCE, len(values) - start)
        place[:rows] = 0
        step = (len(edges) + 1) >> 1
        while step > 0:
            for i in range(rows):
                place[i] += step * np.int64(edges[place[i] + step - 1] < values[start + i])
            step >>= 1
        for i in range(rows):
            out[start + i] = place[i]


@compiled
def _code(state, score, coded, level, smooth, edges, out):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Look up the codes of each cell's state (p, states + 1); a continuous cell's first one is counted from its score."""
    last, n = coded.shape[1] - 1, out.shape[1]
    if smooth >= 0:
        values = np.empty(n)
        for i in range(n):
            values[i] = level[smooth] + score[i]
        _count_below(values, edges[0], out[0])
    for j in range(out.shape[0]):
        for i in range(n):
            if j > 0 or state[i] != smooth or smooth < 0:
                out[j, i] = coded[j, state[i] if state[i] >= 0 else last]
