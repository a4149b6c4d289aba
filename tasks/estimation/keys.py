"""Row keys from row content: folds that no reordering of the rows can change."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tasks.contract.nuisance import Float64
from tasks.contract.rng import UInt64, mix, salt


def row_keys(columns: Sequence[pd.Series], y: Float64) -> UInt64:
    """Return one distinct key per row, a function of what the rows hold and not of their order.

    Each column is hashed cell by cell (the bits of a number, the text of a level, one value for missing) and chained with
    SplitMix64. Rows with the same columns are told apart by the rank of their outcome among them, so moving or stretching the
    outcome's scale changes no key; rows that share the outcome too are interchangeable.

    Parameters
    ----------
    columns : sequence of Series, shape (n,) each
        Canonical: float64 with NaN, or category of strings with NaN.
    y : ndarray of float64, shape (n,)
        Outcome, finite.

    Returns
    -------
    ndarray of uint64, shape (n,)
    """
    content = np.zeros(len(y), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for position, column in enumerate(columns):
            content = mix(content + _cell_hashes(column), salt("column", position))
    order = np.lexsort((y, content))
    ordered = content[order]
    first = np.concatenate(([0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1))
    occurrence = np.empty(len(y), dtype=np.uint64)
    occurrence[order] = (np.arange(len(y)) - np.repeat(first, np.diff(np.concatenate((first, [len(y)]))))).astype(np.uint64)
    with np.errstate(over="ignore"):
        return mix(content + mix(occurrence, salt("occurrence")), salt("row"))


def _cell_hashes(column: pd.Series) -> UInt64:
    if isinstance(column.dtype, pd.CategoricalDtype):
        # the last entry is missing: category codes mark it with -1
        hashes = np.asarray([salt("level", level) for level in column.cat.categories] + [salt("missing")], dtype=np.uint64)
        return np.asarray(hashes[column.cat.codes.to_numpy()], dtype=np.uint64)
    values = column.to_numpy(dtype=np.float64)
    bits = np.ascontiguousarray(values).view(np.uint64)
    return np.where(np.isnan(values), np.uint64(salt("missing")), mix(bits, salt("number")))
