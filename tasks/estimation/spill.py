"""Canonical batches of a source become a table on disk."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.contract.columns import decode
from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64, Int8
from tasks.contract.rng import UInt64
from tasks.contract.roles import Column, TableSchema
from tasks.estimation.canonical import canonical, label_text
from tasks.estimation.keys import content_hashes, distinct_keys
from tasks.estimation.spilled import Range, SpilledTable


class _Recoding(NamedTuple):
    """What each level of a source's category is to the estimators: a number, or a code into ``levels``; last, a missing cell."""

    cells: npt.NDArray[np.float64]
    levels: tuple[str, ...] | None


class Spill:
    """Takes canonical batches of a source one after the other, writes their covariates, keeps the vectors.

    Values, levels, keys and folds are those which :func:`tasks.estimation.table.read_table` gives the same rows in memory; of a release
    those which :func:`tasks.estimation.released.released_table` gives them.

    Parameters
    ----------
    folder : Path
        Where the covariates go; must be there.
    schema : TableSchema
        The source's schema, or that of the release.
    released : bool
        Whether the rows are a release's: levels and treated label are then the schema's, and keys come with each batch.
    """

    def __init__(self, folder: Path, schema: TableSchema, released: bool = False) -> None:
        self._folder = folder
        self._schema = schema
        self._released = released
        self._columns = schema.modelled if released else schema.covariates
        recoding = _schema_levels if released else functools.partial(_recoding, schema)
        self._recodings = {column.id: recoding(column) for column in self._columns if column.is_category}
        arms = pa.array(range(len(schema.arms)), type=pa.int8())
        texts = [label_text(value) for value in _decoded(schema, schema.treatment, arms)]
        self._ranks = tuple(range(len(texts))) if released else tuple(sorted(texts).index(text) for text in texts)
        self._parts: list[tuple[Path, int]] = []
        self._ranges = {column.id: Range(np.inf, -np.inf, False) for column in self._columns}
        self._vectors: dict[str, list[npt.NDArray[np.generic]]] = {}

    @property
    def rows(self) -> int:
        """Rows taken so far."""
        return sum(rows for _, rows in self._parts)

    def add(self, batch: pa.Table, weights: Float64 | None = None, propensity: Float64 | None = None, keys: UInt64 | None = None) -> None:
        """Take one batch.

        Parameters
        ----------
        batch : pyarrow.Table
            Columns by id, canonical (:func:`tasks.contract.columns.canonical_type`).
        weights, propensity : ndarray of float64, shape (n,), optional
            Checked row weights, known P(treated | W); rows of weight 0 are left out.
        keys : ndarray of uint64, shape (n,), optional
            Distinct keys of a release's rows.
        """
        if weights is not None and not weights.all():
            used = weights > 0.0
            batch, weights = batch.filter(pa.array(used)), weights[used]
            propensity = None if propensity is None else propensity[used]
            keys = None if keys is None else keys[used]
        if not batch.num_rows:
            return
        treatment = np.asarray(batch.column("a").to_numpy(), dtype=np.int8)
        label = np.asarray(np.array(self._ranks)[treatment], dtype=np.int8)
        columns = [self._column(column, batch) for column in self._columns]
        vectors: dict[str, npt.NDArray[np.generic] | None] = {
            "label": label,
            "y": np.asarray(batch.column("y").to_numpy(), dtype=np.float64) + 0.0,
            "keys": keys if self._released else self._content(columns, label, propensity),
            "weights": weights,
            "propensity": propensity,
        }
        for name, values in vectors.items():
            if values is not None:
                self._vectors.setdefault(name, []).append(values)
        self._write(columns, len(label))

    def finish(self) -> SpilledTable:
        """Return the table.

        Raises
        ------
        EstimationError
            If no row is left, or no covariate or outcome varies.
        """
        if not self._parts:
            raise EstimationError("rows of the table must be at least 1; got 0.", "Give some rows a weight above 0.")
        whole: dict[str, npt.NDArray[Any]] = {name: np.concatenate(self._vectors.pop(name)) for name in list(self._vectors)}
        names = {column.id: column.name for column in self._columns if self._released or self._ranges[column.id].varies}
        if not names:
            raise EstimationError(
                "covariates of the table must contain one that varies; got none.", "Compare the arms' means directly instead."
            )
        y, weights = whole["y"], whole.get("weights")
        if float(y.min()) == float(y.max()):
            raise EstimationError(
                f"outcome '{self._schema.outcome.name}' of the table must take at least two values; got 1.",
                "A constant outcome has no effect to estimate.",
            )
        keys = whole["keys"] if self._released else distinct_keys(whole["keys"], y, weights)
        return SpilledTable(
            parts=tuple(self._parts),
            names=names,
            levels={name: recoding.levels for name, recoding in self._recodings.items() if recoding.levels is not None},
            ranges=self._ranges,
            label=whole["label"],
            ranks=self._ranks,
            y=y,
            kind=self._schema.outcome_kind,
            keys=keys,
            order=np.argsort(keys),
            weights=weights,
            propensity=whole.get("propensity"),
            labels=self._schema.arms,
        )

    def _content(self, columns: list[pd.Series], label: Int8, propensity: Float64 | None) -> UInt64:
        """Return hashes of the rows' content, of which keys are made once all rows are there."""
        given = [] if propensity is None else [pd.Series(propensity)]
        return content_hashes([*columns, pd.Series(label.astype(np.float64)), *given], len(label))

    def _column(self, column: Column, batch: pa.Table) -> pd.Series:
        """Return one covariate as the estimators see it, and remember its range."""
        values = batch.column(column.id)
        recoding = self._recodings.get(column.id)
        if recoding is None:
            cells = np.asarray(values.to_numpy(), dtype=np.float64) + 0.0
            series = pd.Series(cells)
        else:
            cells = recoding.cells[_codes(values, column)]
            series = pd.Series(cells)
            if recoding.levels is not None:
                kind = pd.CategoricalDtype(pd.Index(recoding.levels, dtype=object))
                codes = np.where(np.isnan(cells), -1.0, cells).astype(np.intp)
                series = pd.Series(pd.Categorical.from_codes(codes, dtype=kind))
        gaps = np.isnan(cells)
        before, present = self._ranges[column.id], cells[~gaps]
        low, high = (min(before.low, float(present.min())), max(before.high, float(present.max()))) if len(present) else before[:2]
        self._ranges[column.id] = Range(low, high, before.missing or bool(gaps.any()))
        return series

    def _write(self, columns: list[pd.Series], rows: int) -> None:
        arrays = [
            pa.array(values.cat.codes.to_numpy().astype(np.int16))
            if isinstance(values.dtype, pd.CategoricalDtype)
            else pa.array(values.to_numpy())
            for values in columns
        ]
        path = self._folder / f"batch-{len(self._parts):05d}.parquet"
        table = pa.table(arrays, names=[column.id for column in self._columns])
        pq.write_table(table, path, compression="lz4", use_dictionary=False, write_statistics=False)
        self._parts.append((path, rows))


def _decoded(schema: TableSchema, column: Column, values: pa.Array) -> pd.Series:
    """Return canonical values of one column as pandas gives the source's own type."""
    alone = schema.model_copy(update={"columns": (column,)})
    frame: pd.DataFrame = decode(alone, pa.table({column.id: values})).to_pandas()
    return frame[column.name]


def _recoding(schema: TableSchema, column: Column) -> _Recoding:
    codes = pa.array(np.arange(len(column.levels), dtype=np.int32))
    levels = pa.DictionaryArray.from_arrays(codes, pa.array(column.levels, type=pa.string()))
    column_values = canonical(_decoded(schema, column, levels))
    if not isinstance(column_values.dtype, pd.CategoricalDtype):
        return _Recoding(np.append(column_values.to_numpy(dtype=np.float64), np.nan), None)
    return _Recoding(
        np.append(column_values.cat.codes.to_numpy().astype(np.float64), np.nan),
        tuple(str(level) for level in column_values.cat.categories),
    )


def _schema_levels(column: Column) -> _Recoding:
    """Return levels as they are in the schema, in its order."""
    return _Recoding(np.append(np.arange(len(column.levels), dtype=np.float64), np.nan), tuple(column.levels))


def _codes(values: pa.ChunkedArray, column: Column) -> npt.NDArray[np.intp]:
    """Return the position of each cell in the schema's levels, -1 where missing."""
    place = {level: number for number, level in enumerate(column.levels)}
    chunks = []
    for chunk in values.chunks:
        code_of = np.asarray([place[text] for text in chunk.dictionary.to_pylist()] + [-1], dtype=np.intp)
        chunks.append(code_of[np.asarray(chunk.indices.fill_null(len(code_of) - 1).to_numpy(), dtype=np.intp)])
    return np.concatenate(chunks)
