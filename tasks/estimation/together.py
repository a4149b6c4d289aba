"""How several outcomes hang together, and how many of their cells are missing, source against release, arm by arm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from tasks.contract.columns import predictions_of
from tasks.contract.disclosure import SMALLEST_CELL
from tasks.contract.nuisance import Float64
from tasks.contract.roles import TableSchema
from tasks.numerics.correlation import FEWEST_PAIRS, spearman


def outcomes_together(schema: TableSchema, source: pa.Table, release: pa.Table) -> dict[str, list[dict[str, Any]]]:
    """Compare residuals of outcomes pair by pair, and shares of missing cells.

    Parameters
    ----------
    schema : TableSchema
    source, release : pyarrow.Table
        With ``a``, outcomes, and g and Q: out of fold in the source, those that rows were drawn from in the release.

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
    record: dict[str, list[dict[str, Any]]] = {"spearman": [], "missing": []}
    for number, label in enumerate(schema.arms):
        here = {where: rest[arms[where] == number] for where, rest in rests.items()}
        for second in range(1, len(names)):
            for first in range(second):
                pair = {where: _spearman(rest[:, [first, second]]) for where, rest in here.items()}
                record["spearman"].append({"first": names[first], "second": names[second], "arm": label, **pair})
        for place, column in enumerate(schema.outcomes):
            if column.missing:
                shares = {where: _share(rest[:, place]) for where, rest in here.items()}
                record["missing"].append({"outcome": column.name, "arm": label, **shares})
    return record


def _residuals(table: pa.Table, outcomes: list[str]) -> Float64:
    """Return Y - Q of the own arm, shape (n, p); NaN where missing."""
    predictions, a = predictions_of(table), table.column("a").to_numpy()
    rests = [table.column(name).to_numpy() - predictions.of(number).observed(a) for number, name in enumerate(outcomes)]
    return np.column_stack(rests)


def _spearman(rest: Float64) -> float | None:
    both = rest[~np.isnan(rest).any(axis=1)]
    return round(spearman(both[:, 0], both[:, 1]), 4) if len(both) >= FEWEST_PAIRS else None


def _share(rest: Float64) -> float | None:
    count, rows = int(np.isnan(rest).sum()), len(rest)
    few = 0 < count < SMALLEST_CELL or 0 < rows - count < SMALLEST_CELL
    return None if few or rows == 0 else round(count / rows, 4)
