"""How several outcomes hang together, and how many of their cells are missing, source against release, arm by arm."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.contract.columns import predictions_of, survey_weights
from tasks.contract.disclosure import SMALLEST_CELL
from tasks.contract.nuisance import Float64
from tasks.contract.roles import TableSchema
from tasks.numerics.correlation import FEWEST_PAIRS, spearman

Mask = npt.NDArray[np.bool_]


def outcomes_together(schema: TableSchema, source: pa.Table, release: pa.Table) -> dict[str, list[dict[str, Any]]]:
    """Compare residuals of outcomes pair by pair, and shares of missing cells.

    Parameters
    ----------
    schema : TableSchema
    source, release : pyarrow.Table
        With ``a``, outcomes, and g and Q: out of fold in the source, those that rows were drawn from in the release. Survey weights, where
        there are any, count.

    Returns
    -------
    dict
        ``spearman``: ``first``, ``second``, ``arm``, ``source``, ``release``: Spearman correlations of the residuals Y - Q of rows that
        have both outcomes; None for fewer than 30 rows. ``missing``: ``outcome``, ``arm``, ``source``, ``release``: shares of missing
        cells, in [0, 1], where the source has any; None where 1 to 4 cells, or all but 1 to 4, are missing.
    """
    names, columns = [column.name for column in schema.outcomes], [column.id for column in schema.outcomes]
    tables = {"source": source, "release": release}
    rests = {where: _residuals(table, columns) for where, table in tables.items()}
    arms = {where: table.column("a").to_numpy() for where, table in tables.items()}
    weights = {where: survey_weights(table) for where, table in tables.items()}
    record: dict[str, list[dict[str, Any]]] = {"spearman": [], "missing": []}
    for number, label in enumerate(schema.arms):
        here = {where: _of_arm(rest, arms[where] == number, weights[where]) for where, rest in rests.items()}
        for second in range(1, len(names)):
            for first in range(second):
                pair = {where: _spearman(rest[:, [first, second]], weight) for where, (rest, weight) in here.items()}
                record["spearman"].append({"first": names[first], "second": names[second], "arm": label, **pair})
        for place, column in enumerate(schema.outcomes):
            if column.missing:
                shares = {where: _share(rest[:, place], weight) for where, (rest, weight) in here.items()}
                record["missing"].append({"outcome": column.name, "arm": label, **shares})
    return record


def _residuals(table: pa.Table, outcomes: list[str]) -> Float64:
    """Return Y - Q of the own arm, shape (n, p); NaN where missing."""
    predictions, a = predictions_of(table), table.column("a").to_numpy()
    rests = [table.column(name).to_numpy() - predictions.of(number).observed(a) for number, name in enumerate(outcomes)]
    return np.column_stack(rests)


def _of_arm(rest: Float64, rows: Mask, weights: Float64 | None) -> tuple[Float64, Float64 | None]:
    return rest[rows], None if weights is None else weights[rows]


def _spearman(rest: Float64, weights: Float64 | None) -> float | None:
    both = ~np.isnan(rest).any(axis=1)
    if int(both.sum()) < FEWEST_PAIRS:
        return None
    return round(spearman(rest[both, 0], rest[both, 1], None if weights is None else weights[both]), 4)


def _share(rest: Float64, weights: Float64 | None) -> float | None:
    missing = np.isnan(rest)
    count, rows = int(missing.sum()), len(rest)
    few = 0 < count < SMALLEST_CELL or 0 < rows - count < SMALLEST_CELL
    return None if few or rows == 0 else round(float(np.average(missing, weights=weights)), 4)
