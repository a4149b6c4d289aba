"""The reference laid out for pruning: leaves of rows, bounds of leaves, bounds of groups of leaves."""

from __future__ import annotations

import math
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from tasks.distance.cells import Float64, Int32
from tasks.distance.partition import Codes
from tasks.distance.records import Int64
from tasks.distance.shadow import REACH, Float32

Cell = TypeVar("Cell", np.float32, np.uint8)
LEAF = 64  # rows a leaf
GROUP = 64  # leaves a group
LINE = 64  # bytes of a cache line


class Bounds(NamedTuple):
    """Bounds of boxes, in blocks of boxes.

    Attributes
    ----------
    low, high : ndarray of float32, shape (blocks, p, width)
        Range of each numeric column; unbounded where a cell is missing.
    absent : ndarray of uint8, shape (blocks, rows, width)
        1 where no row of the box has the code; rows of one column follow each other.
    slack : ndarray of float64, shape (blocks, width)
        Largest rounding slack of a row in the box.
    """

    low: Float32
    high: Float32
    absent: Codes
    slack: Float64


class Layout(NamedTuple):
    """Rows in leaves, and bounds of leaves and of groups of leaves.

    Attributes
    ----------
    z : ndarray of float32, shape (leaves, p, LEAF)
        Shadows; NaN where missing.
    codes : ndarray of uint8, shape (leaves, c, LEAF)
        Codes modulo 256.
    flat : ndarray of float32, shape (leaves * LEAF, p)
        Shadows once more, row by row, for looking at single rows.
    row : ndarray of int64, shape (leaves * LEAF,)
        Row at each position, -1 behind the last one.
    offset : ndarray of int64, shape (c + gappy,)
        First row of ``absent`` of each categorical column, then of the missing state of each gappy numeric column.
    leaves : Bounds
        One block a group.
    groups : Bounds
        One block.
    """

    z: Float32
    codes: Codes
    flat: Float32
    row: Int64
    offset: Int64
    leaves: Bounds
    groups: Bounds


def lay_out(z: Float32, codes: Codes, slack: Float64, order: Int64, sizes: tuple[int, ...], plain: int) -> Layout:
    """Cut ordered rows into leaves and bound them.

    Parameters
    ----------
    z : ndarray of float32, shape (n, p)
        Shadows, the ``plain`` columns without gaps first.
    codes : ndarray of uint8, shape (n, c)
        Codes modulo 256.
    slack : ndarray of float64, shape (n,)
        Rounding slack of each row.
    order : ndarray of int64, shape (n,)
        Row at each position.
    sizes : tuple of int
        Number of codes of each categorical column.
    plain : int
        Number of columns without a missing cell.

    Returns
    -------
    Layout
    """
    n = len(order)
    groups = -(-n // (LEAF * GROUP))
    leaves = groups * GROUP
    # positions behind the last row repeat it: bounds stay tight, and the search skips them
    padded = np.concatenate((order, np.full(leaves * LEAF - n, order[-1])))
    row = np.concatenate((order, np.full(leaves * LEAF - n, -1)))
    rows = [*(min(size, 256) for size in sizes), *([2] * (z.shape[1] - plain))]
    offset = np.concatenate(([0], np.cumsum(rows)))[:-1].astype(np.int64)
    laid_z = _aligned((leaves, z.shape[1], LEAF), np.float32)
    laid_codes = _aligned((leaves, codes.shape[1], LEAF), np.uint8)
    low = np.empty((leaves, z.shape[1]), dtype=np.float32)
    high = np.empty_like(low)
    absent = np.ones((leaves, int(sum(rows))), dtype=np.uint8)
    which = np.repeat(np.arange(leaves), LEAF)
    for j in range(z.shape[1]):
        cells = z[padded, j].reshape(leaves, LEAF)
        laid_z[:, j] = cells
        # NaN travels through minimum: a leaf with a missing cell has no bounds in that column
        low[:, j] = np.nan_to_num(cells.min(axis=1), nan=-4 * REACH)
        high[:, j] = np.nan_to_num(cells.max(axis=1), nan=4 * REACH)
        if j >= plain:
            absent[which, offset[codes.shape[1] + j - plain] + np.isnan(cells).ravel()] = 0
    for j in range(codes.shape[1]):
        column = codes[padded, j]
        laid_codes[:, j] = column.reshape(leaves, LEAF)
        absent[which, offset[j] + column] = 0
    worst = slack[padded].reshape(leaves, LEAF).max(axis=1)
    leaf_bounds = _block(low, high, absent, worst, groups)
    several = [part.reshape(groups, GROUP, -1) for part in (low, high, absent)]
    group_bounds = _block(
        several[0].min(axis=1), several[1].max(axis=1), several[2].min(axis=1), worst.reshape(groups, GROUP).max(axis=1), 1
    )
    return Layout(laid_z, laid_codes, np.ascontiguousarray(z[padded]), row, offset, leaf_bounds, group_bounds)


def _block(low: Float32, high: Float32, absent: Codes, slack: Float64, blocks: int) -> Bounds:
    """Turn (boxes, columns) into (blocks, columns, width), so that one column of a block's boxes is contiguous."""
    return Bounds(_turn(low, blocks), _turn(high, blocks), _turn(absent, blocks), slack.reshape(blocks, -1))


def _turn(part: npt.NDArray[Cell], blocks: int) -> npt.NDArray[Cell]:
    return np.ascontiguousarray(part.reshape(blocks, len(part) // blocks, part.shape[1]).swapaxes(1, 2))


def _aligned(shape: tuple[int, ...], dtype: type[Cell]) -> npt.NDArray[Cell]:
    """Return an empty array that starts where a cache line does: no vector of it then crosses two."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    room = np.empty(size + LINE, dtype=np.uint8)
    first = -room.ctypes.data % LINE
    return room[first : first + size].view(dtype).reshape(shape)


def states(z: Float32, codes: Int32, plain: int) -> Codes:
    """Return what ``absent`` is looked up with: codes modulo 256, then 1 where a gappy numeric cell is missing; shape (n, c + gappy)."""
    # kernels count on rows being contiguous
    return np.ascontiguousarray(np.concatenate(((codes & 255).astype(np.uint8), np.isnan(z[:, plain:]).astype(np.uint8)), axis=1))
