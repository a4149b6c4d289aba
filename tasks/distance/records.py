"""Rows ready to be compared: numbers, codes, and the exact distance between two rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.contract.rng import UInt64, mix
from tasks.distance.cells import Float64, Int32, as_codes, as_numbers
from tasks.distance.scale import Metric, Scale, check_columns, check_kind

Int64 = npt.NDArray[np.int64]


class Records(NamedTuple):
    """Rows of one frame.

    Attributes
    ----------
    numeric : ndarray of float64, shape (n, p)
        Numeric cells in their own units, NaN where missing.
    codes : ndarray of int32, shape (n, c)
        Codes of categorical cells, shared by the frames encoded together; 0 is missing.
    """

    numeric: Float64
    codes: Int32

    def take(self, rows: Int64) -> Records:
        """Return some rows."""
        return Records(self.numeric[rows], self.codes[rows])


class Distinct(NamedTuple):
    """Rows that differ, and which rows are copies of which.

    Attributes
    ----------
    starts : ndarray of int64, shape (u + 1,)
        Distinct rows are numbered by first appearance; row i is ``rows[starts[i]:starts[i + 1]]``, ascending.
    rows : ndarray of int64, shape (n,)
        Row numbers, grouped.
    group : ndarray of int64, shape (n,)
        Distinct row that each row is a copy of.
    """

    starts: Int64
    rows: Int64
    group: Int64

    @property
    def first(self) -> Int64:
        """Lowest row number of each distinct row, shape (u,)."""
        return np.asarray(self.rows[self.starts[:-1]], dtype=np.int64)


def encode(query: pd.DataFrame, reference: pd.DataFrame, scale: Scale) -> tuple[Records, Records, tuple[int, ...]]:
    """Encode two frames so that their rows can be compared.

    Parameters
    ----------
    query, reference : pandas.DataFrame
        Frames with the scale's columns, in any order.
    scale : Scale
        Fitted scale.

    Returns
    -------
    query, reference : Records
    sizes : tuple of int
        Number of codes of each categorical column, missing included.

    Raises
    ------
    SourceError
        If columns or kinds differ from the scale's, or a cell is infinite.
    """
    frames = {"query": query, "reference": reference}
    for owner, frame in frames.items():
        check_columns(frame, scale.names, owner)
        for name, kind in zip(scale.names, scale.kinds):
            check_kind(frame[name], kind, owner)
    numeric = {owner: np.empty((len(frame), len(scale.numeric))) for owner, frame in frames.items()}
    codes = {owner: np.empty((len(frame), len(scale.categorical)), dtype=np.int32) for owner, frame in frames.items()}
    for j, name in enumerate(scale.numeric):
        for owner, frame in frames.items():
            numeric[owner][:, j] = as_numbers(frame[name], owner)
    sizes = []
    for j, name in enumerate(scale.categorical):
        coded, size = as_codes([frame[name] for frame in frames.values()])
        sizes.append(size)
        for owner, column in zip(frames, coded):
            codes[owner][:, j] = column
    return Records(numeric["query"], codes["query"]), Records(numeric["reference"], codes["reference"]), tuple(sizes)


def find_distinct(records: Records) -> Distinct:
    """Group equal rows (missing equals missing), so that copies are compared once.

    Parameters
    ----------
    records : Records
        n rows.

    Returns
    -------
    Distinct
        Every row its own group where 64-bit hashes of different rows collide.
    """
    n = len(records.numeric)
    _, lowest, group = np.unique(_hash_rows(records), return_index=True, return_inverse=True)
    # number distinct rows by their first appearance: among them too, the lowest number is the lowest row
    ranks = np.empty_like(lowest)
    ranks[np.argsort(lowest)] = np.arange(len(lowest))
    group = ranks[group]
    rows = np.argsort(group, kind="stable")
    starts = np.concatenate(([0], np.cumsum(np.bincount(group))))
    result = Distinct(starts, rows, group)
    first = result.first[group]
    same = all(np.array_equal(column, column[first], equal_nan=True) for column in records.numeric.T)
    if same and all(np.array_equal(column, column[first]) for column in records.codes.T):
        return result
    positions = np.arange(n, dtype=np.int64)
    return Distinct(np.arange(n + 1, dtype=np.int64), positions, positions)


def keep_first(records: Records, copies: Distinct) -> Records:
    """Return the first of each group of equal rows (the rows themselves where all differ)."""
    return records if len(copies.starts) - 1 == len(copies.rows) else records.take(copies.first)


def measure(query: Records, reference: Records, pairs: tuple[Int64, Int64], widths: Float64, metric: Metric) -> Float64:
    """Measure the exact distance of pairs of rows.

    The order of operations is part of the definition, so that every path gives the same bits: numeric terms are added
    in column order, then the number of mismatches.

    Parameters
    ----------
    query, reference : Records
        Encoded together.
    pairs : pair of ndarray of int64, shape (m,)
        Row numbers in query and in reference.
    widths : ndarray of float64, shape (p,)
        Units of the numeric columns.
    metric : str
        ``"l2"``, ``"l1"`` or ``"gower"``.

    Returns
    -------
    ndarray of float64, shape (m,)
    """
    left, right = pairs
    total = np.zeros(len(left))
    mismatches = np.zeros(len(left))
    for j, width in enumerate(widths):
        x, y = query.numeric[left, j], reference.numeric[right, j]
        with np.errstate(over="ignore"):
            step = np.abs(x - y) / width
            term = step * step if metric == "l2" else np.minimum(step, 1.0) if metric == "gower" else step
        gap = np.isnan(x) | np.isnan(y)
        total += np.where(gap, 0.0, term)
        mismatches += np.isnan(x) != np.isnan(y)
    for j in range(query.codes.shape[1]):
        mismatches += query.codes[left, j] != reference.codes[right, j]
    total += mismatches
    if metric == "l2":
        return np.asarray(np.sqrt(total))
    return total / (query.numeric.shape[1] + query.codes.shape[1]) if metric == "gower" else total


def _hash_rows(records: Records) -> UInt64:
    hashed = np.zeros(len(records.numeric), dtype=np.uint64)
    for column in records.numeric.T:
        # all NaN are one missing state, with any bits
        hashed = mix(hashed ^ np.where(np.isnan(column), np.nan, column).view(np.uint64), 0)
    for codes in records.codes.T:
        hashed = mix(hashed ^ codes.astype(np.uint64), 0)
    return hashed
