"""Whether a released part has the source's columns, and only values the source could have."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.checks.evidence import SchemaEvidence
from tasks.contract.columns import SELF_WEIGHT
from tasks.contract.roles import Column, TableSchema


def inspect(schema: TableSchema, canonical: pa.Table, released: pa.Schema) -> SchemaEvidence:
    """Compare one part of a release with the source's schema.

    Parameters
    ----------
    schema : TableSchema
        Of the source.
    canonical : pyarrow.Table
        The part's canonical values, columns by id.
    released : pyarrow.Schema
        Names, order and types of the part as it will be written.

    Returns
    -------
    SchemaEvidence
        Adds up over parts.
    """
    cells = ((column.name, _outside(column, schema, canonical)) for column in schema.columns)
    return SchemaEvidence(canonical.num_rows, compare(schema, released), tuple(sorted((n, c) for n, c in cells if c)))


def compare(schema: TableSchema, released: pa.Schema) -> tuple[str, ...]:
    """List differences in names, order and types between the source's schema and a released one.

    Parameters
    ----------
    schema : TableSchema
    released : pyarrow.Schema

    Returns
    -------
    tuple of str
        One line each; empty where they agree.
    """
    wanted = {column.name: column.arrow().type for column in schema.columns}
    lines = [f"column '{name}' is missing" for name in wanted if name not in released.names]
    lines += [f"column '{name}' is not of the source" for name in released.names if name not in wanted]
    if not lines and released.names != list(wanted):
        lines.append("columns are in another order")
    for field in released:
        if field.name in wanted and field.type != wanted[field.name]:
            lines.append(f"column '{field.name}' is {field.type}, in the source {wanted[field.name]}")
    return tuple(lines)


def _outside(column: Column, schema: TableSchema, canonical: pa.Table) -> int:
    """Count the cells of one column that the source could not have; all of them where the column is missing."""
    if column.id not in canonical.column_names:
        return int(canonical.num_rows)
    values = canonical.column(column.id)
    if column.role in ("id", "cluster"):
        return int(values.null_count)
    if column.role == "weight":
        return int(np.sum(values.to_numpy() != SELF_WEIGHT))
    if column.is_drawn:
        faults = int(values.null_count) if column.missing == 0 and not column.constant else 0
        return faults + (_unknown(column, values) if column.is_category else _beyond(column, values))
    numbers = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    if column.role == "treatment":
        good = np.isin(numbers, np.arange(len(schema.arms)))
    elif column.role != "outcome":
        good = np.isfinite(numbers)
    else:
        kind = schema.outcome_kinds[schema.outcomes.index(column)]
        good = np.isfinite(numbers)
        if kind == "binary":
            good = (numbers == 0) | (numbers == 1)
        elif kind == "count":
            good &= (numbers >= 0) & (numbers == np.rint(numbers))
        if column.missing:
            good |= np.isnan(numbers)
    return int(np.sum(~good))


def _unknown(column: Column, values: pa.ChunkedArray) -> int:
    text = values.cast(pa.string()).drop_null()
    inside = pc.is_in(text, value_set=pa.array(list(column.levels), type=pa.string()))
    return int(len(text) - (pc.sum(inside).as_py() or 0))


def _beyond(column: Column, values: pa.ChunkedArray) -> int:
    numbers = values.cast(pa.float64()).drop_null().to_numpy()
    numbers = numbers[~np.isnan(numbers)]
    if column.low is None or column.high is None:
        return int(np.sum(~np.isfinite(numbers)))
    # values are bounded first and rounded after: half a unit of the last digit, or of a float32, may lie beyond
    unit = 1.0 if column.kind in ("integer", "datetime") else 10.0**-column.decimals if column.decimals is not None else 0.0
    slack = unit / 2 + 1e-6 * max(abs(column.low), abs(column.high))
    return int(np.sum(~((numbers >= column.low - slack) & (numbers <= column.high + slack))))
