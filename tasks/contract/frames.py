"""Between canonical Arrow tables on disk and the pandas frames that models are fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.contract.columns import arm_levels, canonical_type, conform, event_codes
from tasks.contract.roles import Column, TableSchema

if TYPE_CHECKING:
    import pandas as pd


def to_frame(table: pa.Table, columns: Sequence[Column]) -> pd.DataFrame:
    """Return canonical columns as a pandas frame.

    Parameters
    ----------
    table : pyarrow.Table
        Canonical table with a column for each id.
    columns : sequence of Column
        Covariates wanted.

    Returns
    -------
    pandas.DataFrame, shape (n, len(columns))
        float64 with NaN, or categories in the order of ``Column.levels`` with NaN; the same for every partition.
    """
    chosen = table.select([column.id for column in columns])
    frame: pd.DataFrame = chosen.to_pandas()
    for column in columns:
        if column.is_category:
            frame[column.id] = frame[column.id].astype("category").cat.set_categories(list(column.levels))
    return frame


def held(frame: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """Return a frame whose numbers beyond a column's safe bounds are held at them, as released ones are.

    Where few rows stand for many, by their weights, what lies beyond the bounds is no small share of the table.
    """
    bounded = [column for column in columns if not column.is_category and column.low is not None and column.high is not None]
    return frame.assign(**{column.id: frame[column.id].clip(column.low, column.high) for column in bounded})


def from_frame(frame: pd.DataFrame, columns: Sequence[Column]) -> pa.Table:
    """Return drawn covariates as a canonical table, rounded and bounded to what the source's columns can hold.

    Parameters
    ----------
    frame : pandas.DataFrame, shape (n, d)
        Columns by id, as :func:`to_frame` gives them.
    columns : sequence of Column
        Covariates to take.

    Returns
    -------
    pyarrow.Table
    """
    arrays, names = [], []
    for column in columns:
        series = frame[column.id]
        if column.is_category:
            codes = np.asarray(series.cat.codes, dtype=np.int32)
            levels = pa.array([str(level) for level in series.cat.categories], type=pa.string())
            arrays.append(pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), levels))
        else:
            arrays.append(conform(column, pa.array(series.to_numpy(dtype=np.float64))).cast(canonical_type(column)))
        names.append(column.id)
    return pa.table(arrays, names=names)


def joint_frame(table: pa.Table, schema: TableSchema) -> pd.DataFrame:
    """Return covariates, treatment and outcomes as one frame: treatment as a category of the arms' numbers.

    Parameters
    ----------
    table : pyarrow.Table
        Canonical table with ``a`` and the outcomes, of a time to event with ``e``.
    schema : TableSchema

    Returns
    -------
    pandas.DataFrame, shape (n, d + 2) or more
        Columns of :func:`tasks.contract.columns.joint_columns`.
    """
    frame = to_frame(table, schema.modelled)
    text = table.column("a").cast(pa.string()).dictionary_encode().to_pandas()
    frame["a"] = text.astype("category").cat.set_categories(list(arm_levels(schema)))
    for column, kind in zip(schema.outcomes, schema.outcome_kinds, strict=True):
        values = table.column(column.id)
        frame[column.id] = values.to_numpy()
        if kind == "binary":
            frame[column.id] = _levelled(values, ("0", "1"))
    if schema.event is not None:
        frame[schema.event.id] = _levelled(table.column(schema.event.id), event_codes(schema.event))
    return frame


def _levelled(values: pa.ChunkedArray, levels: tuple[str, ...]) -> pd.Series:
    """Return cells of 0, 1, ... as categories."""
    text: pd.Series = values.cast(pa.int8()).cast(pa.string()).dictionary_encode().to_pandas()
    return text.astype("category").cat.set_categories(list(levels))


def strata_codes(table: pa.Table, columns: Sequence[Column]) -> npt.NDArray[np.int64]:
    """Return the number of each row's cell of declared strata, shape (n,): the same in every partition; missing is a level of its own.

    Parameters
    ----------
    table : pyarrow.Table
        Canonical table with the columns.
    columns : sequence of Column
        Strata, each with levels.
    """
    codes = np.zeros(table.num_rows, dtype=np.int64)
    for column in columns:
        places = pc.index_in(table.column(column.id).cast(pa.string()), value_set=pa.array(column.levels, type=pa.string()))
        codes = codes * (len(column.levels) + 1) + places.fill_null(len(column.levels)).to_numpy().astype(np.int64)
    return codes


def levels_of(column: pd.Series) -> pd.Series:
    """Return a subgroup column's levels as text, missing where missing: categories as they are, numbers in their shortest form."""
    if column.dtype.name == "category":
        return column.astype(object)
    return column.map(lambda value: f"{value:g}", na_action="ignore").astype(object)
