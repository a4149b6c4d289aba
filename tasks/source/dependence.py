"""Covariates that nearly determine the outcome or the treatment: copies, post-treatment measurements, rules of assignment."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.contract.roles import Column, TableSchema
from tasks.source.numbers import Float64

#: Rows looked at, share of variance that one covariate explains, share of rows whose arm it tells, least gain over the largest arm.
MOST_ROWS = 50_000
_EXPLAINED, _DETERMINED, _GAIN = 0.975, 0.985, 0.25
_BINS = 50


class Dependence(NamedTuple):
    """A covariate that nearly determines the treatment or the outcome, and the share of rows or of variance that it accounts for."""

    covariate: str
    determines: Literal["treatment", "outcome"]
    share: float


def dependences(table: pa.Table, schema: TableSchema) -> tuple[Dependence, ...]:
    """Return single covariates that nearly determine the outcome or the treatment.

    Parameters
    ----------
    table : pyarrow.Table
        Canonical rows; the first ``MOST_ROWS`` are looked at.
    schema : TableSchema
    """
    rows = table.slice(0, MOST_ROWS)
    y = np.asarray(rows.column("y").to_numpy(), dtype=np.float64)
    a = np.asarray(rows.column("a").to_numpy(), dtype=np.int64)
    present = ~np.isnan(y)
    largest = float(np.bincount(a).max()) / len(a)
    pairs = []
    for column in schema.modelled:
        groups = _groups(column, rows.column(column.id))
        if groups is None:
            continue
        share = _majority_share(groups, a)
        if share >= _DETERMINED and share >= largest + _GAIN * (1.0 - largest):
            pairs.append(Dependence(column.name, "treatment", share))
        explained = max(
            _explained(groups[present], y[present]), _linear(column, rows.column(column.id).filter(pa.array(present)), y[present])
        )
        if explained >= _EXPLAINED:
            pairs.append(Dependence(column.name, "outcome", explained))
    return tuple(pairs)


def near_functions(table: pa.Table, schema: TableSchema) -> tuple[str, ...]:
    """Warn of single covariates that nearly determine the outcome or the treatment.

    Parameters
    ----------
    table, schema
        As in :func:`dependences`.

    Returns
    -------
    tuple of str
        One line for each covariate and what it determines.
    """
    lines = []
    for pair in dependences(table, schema):
        if pair.determines == "treatment":
            lines.append(
                f"covariate '{pair.covariate}' nearly determines treatment '{schema.treatment.name}' ({pair.share:.1%} of the rows are in "
                "the arm it tells): where it does, effects rest on extrapolation."
            )
        else:
            lines.append(
                f"covariate '{pair.covariate}' nearly determines outcome '{schema.outcome.name}' (it explains {pair.share:.1%} of the "
                "variance): it may be a copy of the outcome or measured after treatment, and then is no covariate."
            )
    return tuple(lines)


def _groups(column: Column, values: pa.ChunkedArray) -> npt.NDArray[np.int64] | None:
    """Give each row the number of its level, or of one of about equal bins; missing cells are a group. None for few known cells."""
    if column.is_category:
        codes = values.cast(pa.string()).combine_chunks().dictionary_encode().indices
        return np.asarray(codes.fill_null(len(column.levels) + 1).to_numpy(zero_copy_only=False), dtype=np.int64)
    numbers = np.asarray(values.to_numpy(), dtype=np.float64)
    present = ~np.isnan(numbers)
    if present.sum() < 2 * _BINS:
        return None
    distinct = np.unique(numbers[present])
    edges = distinct if len(distinct) <= _BINS else np.unique(np.quantile(numbers[present], np.linspace(0, 1, _BINS + 1)[1:-1]))
    places = np.searchsorted(edges, numbers, side="left")
    return np.where(present, places, _BINS + 2).astype(np.int64)


def _majority_share(groups: npt.NDArray[np.int64], a: npt.NDArray[np.int64]) -> float:
    """Return the share of rows in the largest arm of their group."""
    counts = np.zeros((int(groups.max()) + 1, int(a.max()) + 1))
    np.add.at(counts, (groups, a), 1.0)
    return float(counts.max(axis=1).sum() / len(a))


def _explained(groups: npt.NDArray[np.int64], y: Float64) -> float:
    """Return the share of variance between groups, less what as many random groups would explain."""
    size = np.bincount(groups)
    used = size > 0
    means = np.bincount(groups, weights=y)[used] / size[used]
    total = float(np.var(y)) * len(y)
    if total == 0.0 or len(y) <= used.sum():
        return 0.0
    within = total - float((size[used] * (means - y.mean()) ** 2).sum())
    return 1.0 - within / total * (len(y) - 1) / (len(y) - int(used.sum()))


def _linear(column: Column, values: pa.ChunkedArray, y: Float64) -> float:
    """Return the squared correlation with a numeric covariate over rows that have it."""
    if column.is_category:
        return 0.0
    numbers = np.asarray(values.to_numpy(), dtype=np.float64)
    present = ~np.isnan(numbers)
    if present.sum() < len(y) / 2 or np.ptp(numbers[present]) == 0.0 or np.ptp(y[present]) == 0.0:
        return 0.0
    return float(np.corrcoef(numbers[present], y[present])[0, 1] ** 2)
