"""The outcome by arm: histograms and quantiles of source and release, no cell with one to four rows among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tasks.contract.roles import TableSchema
from tasks.pages.numbers import decimals_of, fixed, percent
from tasks.report.bins import bins_of
from tasks.report.disclosure import Int64, groups
from tasks.report.features import Float64
from tasks.report.marginals import by_level, by_range

#: Levels of the quantiles; the extremes are left out, for they are single rows' values.
LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
#: Fewest rows of an arm whose quantiles are shown: five rows lie beyond each of them.
FEWEST = 50
_FINE = 400


class FineCells(NamedTuple):
    """Equal cells over the outcome's safe range, the outermost ones open; whole numbers have one each where they fit.

    Attributes
    ----------
    low, width : float
        Where the first cell begins, and how wide each is; the width is 0 where there are none.
    cells : int
    whole : bool
        Whether each cell is one value.
    """

    low: float
    width: float
    cells: int
    whole: bool

    def codes(self, values: Float64) -> Int64:
        """Return each value's cell, -1 where missing."""
        if self.cells == 0:
            return np.full(len(values), -1, dtype=np.int64)
        known = np.isfinite(values)
        places = np.floor((np.where(known, values, 0.0) - self.low) / self.width)
        return np.where(known, np.clip(places, 0, self.cells - 1), -1).astype(np.int64)


def fine_cells(schema: TableSchema) -> FineCells:
    """Return the fine cells of an outcome; none for a binary one."""
    low, high = schema.outcome.low, schema.outcome.high
    if schema.outcome_kind == "binary" or low is None or high is None or not low < high:
        return FineCells(0.0, 0.0, 0, False)
    if schema.outcome.kind == "integer" and high - low < _FINE:
        return FineCells(low - 0.5, 1.0, int(high - low) + 1, True)
    return FineCells(low, (high - low) / _FINE, _FINE, False)


def outcome_by_arm(
    schema: TableSchema, source: tuple[Int64, Int64], release: tuple[Int64, Int64], weighted: tuple[Float64, Float64] | None = None
) -> list[dict[str, Any]]:
    """Put the outcomes of source and release side by side in each arm.

    Parameters
    ----------
    schema : TableSchema
        Of the source.
    source, release : tuple of ndarray
        Rows by arm and cell, coarse and fine, as :class:`tasks.report.tallies.Tally` has them: they say what may be shown.
    weighted : tuple of ndarray, optional
        The source's weights in the same cells, where it has survey weights.

    Returns
    -------
    list of dict
        Controls first: a row as :func:`tasks.report.marginals.paired` returns it, with ``arm`` (its label) and ``quantiles``, a list of
        ``level``, ``source`` and ``release`` as text; empty for a binary outcome.
    """
    bins, cells, rows = bins_of(schema.outcome, schema), fine_cells(schema), []
    for arm, label in enumerate(schema.arm_titles):
        shown: tuple[Any, Any] = source if weighted is None else weighted
        both, fine = (np.stack((source[at][arm], release[at][arm])) for at in (0, 1))
        sums, fine_sums = (np.stack((shown[at][arm], release[at][arm])) for at in (0, 1))
        row = by_level(bins, both, sums) if bins.edges is None else by_range(bins, both, sums)
        gap = float(np.abs(np.subtract(row["source"], row["release"])).sum() / 2)
        rows.append(
            {
                "name": schema.outcome.name,
                "role": "outcome",
                "arm": label,
                **row,
                "distance": gap,
                "quantiles": [] if cells.cells == 0 else _quantiles(cells, fine, fine_sums),
            }
        )
    return rows


def _quantiles(cells: FineCells, both: Int64, sums: Int64 | Float64) -> list[dict[str, str]]:
    runs = groups(both)
    columns = [_of_one(cells, runs, counts, weights) for counts, weights in zip(both, sums, strict=True)]
    decimals = 0 if cells.whole else decimals_of(10.0 * cells.width)
    return [
        {"level": percent(level), "source": fixed(left, decimals), "release": fixed(right, decimals)}
        for level, left, right in zip(LEVELS, *columns, strict=True)
    ]


def _of_one(cells: FineCells, runs: Sequence[slice], counts: Int64, weights: Int64 | Float64) -> list[float | None]:
    """Return quantiles from merged cells: whole numbers as they are, others interpolated inside their cell."""
    if int(counts.sum()) < FEWEST:
        return [None] * len(LEVELS)
    shares = np.array([weights[run].sum() for run in runs]) / weights.sum()
    ends = np.cumsum(shares)
    found: list[float | None] = []
    for level in LEVELS:
        at = min(int(np.searchsorted(ends, level - 1e-12)), len(runs) - 1)
        run, before = runs[at], float(ends[at] - shares[at])
        inside = (level - before) / float(shares[at])
        if cells.whole:
            found.append(cells.low + 0.5 + run.start + min(int(inside * (run.stop - run.start)), run.stop - run.start - 1))
        else:
            found.append(cells.low + cells.width * (run.start + inside * (run.stop - run.start)))
    return found
