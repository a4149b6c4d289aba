"""Marginals of one table: counts per cell of every column, mergeable over partitions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.contract.roles import Column, TableSchema
from tasks.report.bins import Bins, bins_of
from tasks.report.disclosure import Int64, folded, groups
from tasks.report.features import Float64

Counts = Mapping[str, Int64]
#: The same by the rows' survey weights.
Sums = Mapping[str, Float64]
#: Most levels of a category that are drawn; the others are drawn together.
MOST_LEVELS = 8


class Marginals:
    """Reduction: counts per cell of every column that varies (contract/reduction.py)."""

    def __init__(self, schema: TableSchema) -> None:
        self._bins = {column.id: (column, bins_of(column, schema)) for column in schema.drawn}

    def start(self) -> Counts:
        """Return zero counts."""
        return {key: np.zeros(bins.cells, dtype=np.int64) for key, (_, bins) in self._bins.items()}

    def visit(self, state: Counts, part: pa.Table) -> Counts:
        """Count one canonical partition."""
        return {key: state[key] + _count(column, bins, part.column(key)) for key, (column, bins) in self._bins.items()}

    def merge(self, left: Counts, right: Counts) -> Counts:
        """Add two counts."""
        return {key: left[key] + right[key] for key in left}

    def advance(self, state: Counts) -> Counts:
        """Return the counts: one pass is enough."""
        return state


def codes_of(column: Column, schema: TableSchema, values: pa.ChunkedArray) -> Int64:
    """Return each row's cell of a column, -1 where missing."""
    bins = bins_of(column, schema)
    return _levels(column, values) if bins.edges is None else _cells(bins.edges, values)


def _count(column: Column, bins: Bins, values: pa.ChunkedArray) -> Int64:
    codes, _ = _placed(bins, _levels(column, values) if bins.edges is None else _cells(bins.edges, values))
    return np.bincount(codes, minlength=bins.cells).astype(np.int64)


def _placed(bins: Bins, codes: Int64) -> tuple[Int64, npt.NDArray[np.bool_]]:
    """Return the cells of the rows that are counted, missing values in the last one where it is theirs, and which rows these are."""
    if bins.missing:
        return np.where(codes < 0, bins.cells - 1, codes), np.ones(len(codes), dtype=np.bool_)
    return codes[codes >= 0], codes >= 0


def _cells(edges: np.typing.NDArray[np.float64], values: pa.ChunkedArray) -> Int64:
    """Return each row's cell, -1 where missing."""
    numbers = values.cast(pa.float64()).to_numpy()
    return np.where(np.isnan(numbers), -1, np.searchsorted(edges, numbers, side="right"))


def _levels(column: Column, values: pa.ChunkedArray) -> Int64:
    """Return each row's level, -1 where missing (or of no level of the source: the gate `levels` tells of those)."""
    if not column.is_drawn:
        return np.asarray(values.cast(pa.float64()).fill_null(-1.0).to_numpy().astype(np.int64))
    found = pc.index_in(values.cast(pa.string()), value_set=pa.array(column.levels, type=pa.string()))
    return np.asarray(found.fill_null(-1).to_numpy().astype(np.int64))


def weighted_marginals(schema: TableSchema, part: pa.Table, weights: Float64) -> Sums:
    """Return the weight per cell of every column that varies, of one canonical partition."""
    sums: dict[str, Float64] = {}
    for column in schema.drawn:
        bins = bins_of(column, schema)
        codes, counted = _placed(bins, codes_of(column, schema, part.column(column.id)))
        sums[column.id] = np.asarray(np.bincount(codes, weights=weights[counted], minlength=bins.cells), dtype=np.float64)
    return sums


def paired(schema: TableSchema, source: Counts, release: Counts, weighted: Sums | None = None) -> list[dict[str, Any]]:
    """Put the marginals of source and release side by side, no cell with one to four rows among them.

    Parameters
    ----------
    schema : TableSchema
        Of the source.
    source, release : mapping
        Counts of the two tables, as :class:`Marginals` gives them: they say what may be shown.
    weighted : mapping, optional
        Weights of the source's cells, where it has survey weights: its shares are then of the weighted population.

    Returns
    -------
    list of dict
        For each column that varies, in the source's order: ``name``, ``role``, ``form`` ("levels", "values" or "range"), ``labels``,
        ``widths`` (cells that each bar stands for), ``source`` and ``release`` (shares of all rows), ``missing`` (whether the last bar is
        of missing values) and ``distance``, the total variation distance between the two over the cells shown, in [0, 1].
    """
    rows = []
    for column in schema.drawn:
        bins = bins_of(column, schema)
        both = np.stack((source[column.id], release[column.id]))
        sums = both if weighted is None else np.stack((weighted[column.id], release[column.id].astype(np.float64)))
        row = by_level(bins, both, sums) if bins.edges is None else by_range(bins, both, sums)
        gap = np.abs(np.subtract(row["source"], row["release"])).sum() / 2
        rows.append({"name": column.name, "role": column.role, **row, "distance": float(gap)})
    return rows


def by_level(bins: Bins, both: Int64, sums: Int64 | Float64) -> dict[str, Any]:
    """Return shares by level of source and release, rare levels together; fields as in :func:`paired`.

    ``both`` counts rows, the source's first, and decides what is shown; ``sums``, of the same shape, is what the shares are of.
    """
    labels = [*bins.labels, "missing"] if bins.missing else list(bins.labels)
    together = folded(both, MOST_LEVELS)
    kept = np.flatnonzero(~together)
    shown, names = sums[:, kept], [labels[level] for level in kept]
    if together.any():
        number = int(together.sum())
        shown = np.column_stack((shown, sums[:, together].sum(axis=1)))
        names.append(f"{number} other{'s' if number > 1 else ''}" if names else f"all {number} levels")
    return {"form": "levels", "labels": names, "widths": [1] * len(names), "missing": False, **_shares(shown)}


def by_range(bins: Bins, both: Int64, sums: Int64 | Float64) -> dict[str, Any]:
    """Return shares by cell of source and release, cells merged; arguments as in :func:`by_level`, fields as in :func:`paired`."""
    runs = groups(both)
    shown = np.stack([sums[:, run].sum(axis=1) for run in runs], axis=1)
    widths = [run.stop - run.start for run in runs]
    labels = _value_labels(bins, runs) if bins.whole else [bins.labels[run.stop - 1] for run in runs if run.stop <= len(bins.labels)]
    missing = bins.missing and widths[-1] == 1
    if bins.missing and not missing:
        widths[-1] -= 1  # missing values that are too few to be shown count with the last cell
    form = "values" if bins.whole else "range"
    return {"form": form, "labels": labels, "widths": widths, "missing": missing, **_shares(shown)}


def _value_labels(bins: Bins, runs: list[slice]) -> list[str]:
    names = [*bins.labels, "missing"]
    labels = []
    for run in runs:
        first, last = names[run.start], names[run.stop - 1]
        between = " or " if last == "missing" else "–"
        labels.append(first if first == last else f"{first}{between}{last}")
    return labels


def _shares(shown: Int64 | Float64) -> dict[str, list[float]]:
    totals = shown.sum(axis=1, keepdims=True)
    totals = np.where(totals > 0, totals, 1)
    left, right = (shown / totals).tolist()
    return {"source": left, "release": right}
