"""Binned marginals of one table, mergeable over partitions, small cells suppressed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.contract.roles import Column, TableSchema

Counts = Mapping[str, npt.NDArray[np.int64]]
BINS = 14
SMALLEST_CELL = 5


class Bins(NamedTuple):
    """How one column is binned.

    Attributes
    ----------
    name : str
        Column name in the source.
    labels : tuple of str
        One for each cell; the last is "missing" where the column has missing cells.
    edges : ndarray of float64 or None
        Inner edges of a numeric column; None for categories.
    """

    name: str
    labels: tuple[str, ...]
    edges: npt.NDArray[np.float64] | None


def bins_of(column: Column) -> Bins:
    """Choose the bins of a column from its schema alone, so that source and release share them.

    The edges lie between the safe ends ``Column.low`` and ``Column.high``: no exact extreme shows.
    """
    missing = ("missing",) if column.missing else ()
    if column.is_category or column.role == "treatment":
        levels = column.levels if column.role == "covariate" else ("control", "treated")
        return Bins(column.name, (*levels, *missing), None)
    low, high = column.low, column.high
    if low is None or high is None or not low < high:
        return Bins(column.name, ("all", *missing), np.empty(0))
    whole = column.kind == "integer" and high - low < BINS
    edges = np.arange(low, high) + 0.5 if whole else np.linspace(low, high, BINS + 1)[1:-1]
    if whole:
        labels = tuple(f"{value:g}" for value in np.arange(low, high + 1))
    elif column.kind == "datetime":
        middles = np.linspace(low, high, 2 * BINS + 1)[1::2].astype("datetime64[us]")
        labels = tuple(str(value.astype("datetime64[D]")) for value in middles)
    else:
        labels = tuple(f"{value:.3g}" for value in np.linspace(low, high, 2 * BINS + 1)[1::2])
    return Bins(column.name, (*labels, *missing), edges)


class Marginals:
    """Reduction: counts per bin of every column (contract/reduction.py)."""

    def __init__(self, schema: TableSchema) -> None:
        self._columns = [column for column in schema.columns if not column.constant]

    def start(self) -> Counts:
        """Return zero counts."""
        return {column.id: np.zeros(len(bins_of(column).labels), dtype=np.int64) for column in self._columns}

    def visit(self, state: Counts, part: pa.Table) -> Counts:
        """Count one canonical partition."""
        return {column.id: state[column.id] + _count(column, part.column(column.id)) for column in self._columns}

    def merge(self, left: Counts, right: Counts) -> Counts:
        """Add two counts."""
        return {key: left[key] + right[key] for key in left}

    def advance(self, state: Counts) -> Counts:
        """Return the counts: one pass is enough."""
        return state


def _count(column: Column, values: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    bins = bins_of(column)
    known = pc.drop_null(values)
    codes = _codes(column, known) if bins.edges is None else np.searchsorted(bins.edges, known.to_numpy(), side="right")
    counts = np.bincount(codes, minlength=len(bins.labels)).astype(np.int64)
    if column.missing:
        counts[-1] += values.null_count
    return counts


def _codes(column: Column, known: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    if column.role == "treatment":
        return known.to_numpy().astype(np.int64)
    text = known.cast(pa.string())
    return np.asarray(pc.index_in(text, value_set=pa.array(column.levels, type=pa.string())).to_numpy(), dtype=np.int64)


def shares(counts: npt.NDArray[np.int64]) -> list[float | None]:
    """Return shares of cells, None for cells with 1 to 4 rows."""
    total = max(int(counts.sum()), 1)
    return [None if 0 < count < SMALLEST_CELL else float(count / total) for count in counts.tolist()]


def paired(schema: TableSchema, source: Counts, release: Counts) -> list[dict[str, object]]:
    """Put the marginals of source and release side by side.

    Returns
    -------
    list of dict
        ``name``, ``labels``, ``source``, ``release`` (shares, None where suppressed) and ``distance``, the total variation
        distance over the shown cells, for each column that varies, in the source's order.
    """
    rows: list[dict[str, object]] = []
    for column in schema.columns:
        if column.constant:
            continue
        left, right = shares(source[column.id]), shares(release[column.id])
        rows.append(
            {
                "name": column.name,
                "labels": list(bins_of(column).labels),
                "numeric": bins_of(column).edges is not None,
                "source": left,
                "release": right,
                "distance": _variation(left, right),
            }
        )
    return rows


def _variation(left: Sequence[float | None], right: Sequence[float | None]) -> float:
    return 0.5 * sum(abs(a - b) for a, b in zip(left, right) if a is not None and b is not None)
