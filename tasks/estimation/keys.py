"""Row keys from row content: folds that no reordering of the rows can change."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from tasks.contract.nuisance import Float64
from tasks.contract.rng import UInt64, mix, salt

#: Rows hashed at a time: few enough that what lies between a cell and its key stays in the processor's cache.
BLOCK = 1 << 14


def row_keys(columns: Sequence[pd.Series], y: Float64, ties: Float64 | None = None) -> UInt64:
    """Return one distinct key per row, a function of what the rows hold and not of their order.

    Each column is hashed cell by cell (the bits of a number, the text of a level, one value for missing) and chained with
    SplitMix64. Rows with the same columns are distinguished by the rank of their outcome among them, so moving or stretching the
    outcome's scale changes no key; rows that share the outcome too are interchangeable.

    Parameters
    ----------
    columns : sequence of Series, shape (n,) each
        Canonical: float64 with NaN, or category of strings with NaN.
    y : ndarray of float64, shape (n,)
        Outcome, finite.
    ties : ndarray of float64, shape (n,), optional
        What distinguishes rows that share the outcome too (row weights: only their order counts).

    Returns
    -------
    ndarray of uint64, shape (n,)
    """
    return distinct_keys(content_hashes(columns, len(y)), y, ties)


def distinct_keys(content: UInt64, y: Float64, ties: Float64 | None = None) -> UInt64:
    """Return one distinct key per row from the hashes of the rows' columns, which may have been hashed batch by batch.

    Parameters
    ----------
    content : ndarray of uint64, shape (n,)
        As :func:`content_hashes` gives them.
    y, ties
        As in :func:`row_keys`.
    """
    order = np.argsort(content)
    ordered = content[order]
    repeated = ordered[1:] == ordered[:-1]
    occurrence = np.zeros(len(y), dtype=np.uint64)
    if repeated.any():
        shared = order[np.concatenate(([False], repeated)) | np.concatenate((repeated, [False]))]
        by = (y[shared], content[shared]) if ties is None else (ties[shared], y[shared], content[shared])
        shared = shared[np.lexsort(by)]
        occurrence[shared] = _ranks(content[shared])
    with np.errstate(over="ignore"):
        return mix(content + mix(occurrence, salt("occurrence")), salt("row"))


def content_hashes(columns: Sequence[pd.Series], n: int) -> UInt64:
    """Hash the cells of each row, column after column, shape (n,): equal rows have equal hashes, in whatever batch they come."""
    hashes = [_cell_hashes(column) for column in columns]
    content = np.empty(n, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for start in range(0, n, BLOCK):
            rows = slice(start, min(start + BLOCK, n))
            chain = np.zeros(rows.stop - start, dtype=np.uint64)
            for position, cells in enumerate(hashes):
                chain = mix(chain + cells(rows), salt("column", position))
            content[rows] = chain
    return content


def _ranks(ordered: UInt64) -> UInt64:
    """Count the elements of each run of equal ones from 0."""
    first = np.concatenate(([0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1))
    lengths = np.diff(np.concatenate((first, [len(ordered)])))
    return np.asarray(np.arange(len(ordered)) - np.repeat(first, lengths), dtype=np.uint64)


def _cell_hashes(column: pd.Series) -> Callable[[slice], UInt64]:
    """Return a function from rows to the hashes of their cells."""
    missing = np.uint64(salt("missing"))
    if isinstance(column.dtype, pd.CategoricalDtype):
        # the last entry is missing: category codes mark it with -1
        hashes = np.asarray([salt("level", level) for level in column.cat.categories] + [missing], dtype=np.uint64)
        codes = column.cat.codes.to_numpy()
        return lambda rows: np.asarray(hashes[codes[rows]], dtype=np.uint64)
    values = np.ascontiguousarray(column.to_numpy(dtype=np.float64))
    number = salt("number")
    return lambda rows: np.where(np.isnan(values[rows]), missing, mix(values[rows].view(np.uint64), number))
