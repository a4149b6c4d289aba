"""How the columns of a table are cut into cells: from the schema alone, so that source and release share them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.contract.roles import Column, TableSchema
from tasks.pages.axis import nice_step, short, tick_labels

Float64 = npt.NDArray[np.float64]

#: About as many cells a numeric column is cut into, at most.
MOST_BINS = 18
#: Whole numbers of at most this many values get a cell each.
MOST_VALUES = 20
#: Ratio of the ends of a positive range from which cells are even on the logarithmic scale.
WIDE = 200.0
_SPANS = (
    *(("m", k) for k in (1, 5, 15)),
    *(("h", k) for k in (1, 3, 6)),
    *(("D", k) for k in (1, 2, 7, 14)),
    *(("M", k) for k in (1, 3, 6)),
    *(("Y", k) for k in (1, 2, 5, 10, 20, 50, 100, 1000, 10_000, 100_000)),
)


class Bins(NamedTuple):
    """How one column is cut.

    Attributes
    ----------
    labels : tuple of str
        Of categories and of whole numbers, one for each cell; of other numbers, one for each edge. Without the cell of missing values.
    edges : ndarray of float64, shape (cells - 1,), or None
        Inner edges of a numeric column, increasing; the outermost cells are open. None for categories.
    whole : bool
        Whether each cell of a numeric column is one value.
    missing : bool
        Whether one more cell, the last, counts missing values.
    """

    labels: tuple[str, ...]
    edges: Float64 | None
    whole: bool
    missing: bool

    @property
    def cells(self) -> int:
        """Cells, the one of missing values among them."""
        return (len(self.labels) if self.edges is None else len(self.edges) + 1) + self.missing


def bins_of(column: Column, schema: TableSchema) -> Bins:
    """Choose the cells of a column.

    All edges are round numbers strictly between the safe ends ``Column.low`` and ``Column.high``: no exact extreme shows.
    """
    missing = column.missing > 0 and column.is_drawn
    if column.role == "treatment":
        return Bins(schema.arm_titles, None, False, missing)
    if column in schema.outcomes and schema.outcome_kinds[schema.outcomes.index(column)] == "binary":
        return Bins(("false", "true") if column.kind == "boolean" else ("0", "1"), None, False, missing)
    if column.is_category:
        return Bins(column.levels, None, False, missing)
    low, high = column.low, column.high
    if low is None or high is None or not low < high:
        return Bins((), np.empty(0), False, missing)
    if column.kind == "datetime":
        edges, labels = _instants(low, high)
        return Bins(labels, edges, False, missing)
    if column.kind == "integer" and high - low < MOST_VALUES:
        values = np.arange(low, high + 1)
        return Bins(tick_labels(values.tolist()), values[:-1] + 0.5, True, missing)
    if low > 0.0 and high / low >= WIDE:
        edges = _wide_edges(low, high)
        return Bins(tuple(short(edge) for edge in edges.tolist()), edges, False, missing)
    edges = _round_edges(low, high, 1.0 if column.kind == "integer" else 0.0)
    return Bins(tick_labels(edges.tolist()), edges, False, missing)


def _round_edges(low: float, high: float, smallest: float) -> Float64:
    # a range that is narrow beside its distance from zero has few numbers to cut at
    step = max(nice_step(max((high - low) / MOST_BINS, 1e-14 * max(abs(low), abs(high)))), smallest)
    first = np.floor(low / step) + 1.0
    edges = np.asarray(step * np.arange(first, np.ceil(high / step)), dtype=np.float64)
    return edges[(edges > low) & (edges < high)]


def _wide_edges(low: float, high: float) -> Float64:
    """Return 1, 2, 5, 10, 20, ... (over very wide ranges powers of ten alone): few rows would leave the first of even cells."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if len(powers) <= 7 else (1,)
    powers = powers[:: math.ceil(len(powers) / MOST_BINS)]
    edges = np.array([float(f"{factor}e{power}") for power in powers for factor in factors])
    return edges[(edges > low) & (edges < high)]


def _instants(low: float, high: float) -> tuple[Float64, tuple[str, ...]]:
    """Return round instants in microseconds since 1970 UTC, and how they are written."""
    ends = np.array([low, high]).astype(np.int64).astype("datetime64[us]")
    for unit, step in _SPANS:
        first, last = (int(end) // step for end in ends.astype(f"datetime64[{unit}]").astype(np.int64))
        if last - first <= MOST_BINS:
            break
    marks = (np.arange(first + 1, last + 1) * step).astype(f"datetime64[{unit}]")
    # a date is told from a time by its unit: the text needs no zeros of what the cells don't tell
    labels = tuple(str(mark).replace("T", " ") for mark in marks)
    edges = marks.astype("datetime64[us]").astype(np.int64).astype(np.float64)
    inside = (edges > low) & (edges < high)
    return edges[inside], tuple(label for label, kept in zip(labels, inside) if kept)
