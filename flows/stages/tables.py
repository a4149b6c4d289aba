"""Reading the table that ``waymint estimate`` works on: batches, canonical rows, and columns of weights or propensities beside them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from infra.store import filesystem
from tasks.contract.errors import SourceError, SpecError
from tasks.contract.frames import strata_codes
from tasks.contract.nuisance import Float64
from tasks.contract.rng import UInt64
from tasks.contract.roles import TableSchema
from tasks.contract.spec import ReadingSpec, RolesSpec
from tasks.source.builtin import BUILTIN, load_builtin
from tasks.source.missing import without_values
from tasks.source.plan import plan_source
from tasks.source.read import column_faults, read_batches
from tasks.source.rows import canonical
from tasks.source.sampled import cell_hashes
from tasks.source.values import as_floats, family, is_missing, plain_values

Reader = Callable[[Sequence[str]], Iterator[pa.Table]]
Beside = tuple[Float64 | None, Float64 | None]

BATCH_ROWS = 250_000


class OpenTable(NamedTuple):
    """A table that can be read in batches, as often as wanted.

    Attributes
    ----------
    names : tuple of str
        Its columns.
    form : str
        ``"csv"`` where batches are text.
    read : callable
        From names of columns to batches.
    index : tuple of str
        Stored row index columns.
    notes : tuple of str
        What a user should know of how it is read.
    faults : callable
        From names of columns to the errors that keep some from being read.
    """

    names: tuple[str, ...]
    form: str
    read: Reader
    index_columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    faults: Callable[[Sequence[str]], list[SourceError]] = lambda names: []  # noqa: ARG005


def open_table(data: str, wishes: ReadingSpec | None = None, owner: str = "DATA of estimate") -> OpenTable:
    """Open a table.

    Parameters
    ----------
    data : str
        As the user wrote it.
    wishes : ReadingSpec, optional
        Missing codes and dialect, where declared.
    owner : str
        What it was given as, for messages.
    """
    if data.startswith(BUILTIN):
        whole = load_builtin(data.removeprefix(BUILTIN))
        reading = ReadingSpec() if wishes is None else wishes
        return OpenTable(
            tuple(whole.column_names), "parquet", lambda names: iter([without_values(whole.select(list(names)), reading, text=False)])
        )
    fs, path = filesystem(data)
    plan = plan_source(fs, path, data, BATCH_ROWS, owner, wishes)

    def read(names: Sequence[str]) -> Iterator[pa.Table]:
        for fragment in plan.fragments:
            yield from read_batches(fs, plan, fragment, names)

    return OpenTable(plan.names, plan.format, read, plan.index, plan.notes, lambda names: column_faults(plan, names))


def canonical_rows(batch: pa.Table, schema: TableSchema, form: str, options: dict[str, Any]) -> tuple[pa.Table, Beside]:
    """Give a batch its canonical form, and read weights and propensities of the same rows."""
    rows, used = canonical(batch, schema, form), rows_used(batch, schema)
    beside = [
        None if not isinstance(name, str) else numbers_of(batch, name)[used] for name in (options.get("weights"), options["propensity"])
    ]
    if any(values is not None and len(values) != rows.num_rows for values in beside):
        raise SourceError(
            f"treatment and outcome of source must be missing in the same rows at each reading; got {rows.num_rows} rows.", ""
        )
    return rows, (beside[0], beside[1])


def rows_used(batch: pa.Table, schema: TableSchema) -> npt.NDArray[np.bool_]:
    """Return which rows have treatment and outcome, shape (n,)."""
    without = is_missing(batch.column(schema.treatment.name))
    for column in schema.outcomes:
        if not column.missing:  # else rows without outcome are kept
            without |= is_missing(batch.column(column.name))
    return np.asarray(~without)


def cluster_hashes(batch: pa.Table, schema: TableSchema, name: str) -> UInt64:
    """Return a hash of the cluster of each row that has treatment and outcome."""
    cells = plain_values(batch.column(name).filter(pa.array(rows_used(batch, schema))))
    if cells.null_count:
        raise SourceError(f"cluster '{name}' must be known in every row; got {cells.null_count} missing cells.", "Drop these rows.")
    return cell_hashes(cells)


def numbers_of(batch: pa.Table, name: str) -> Float64:
    """Read a column of row weights or propensities; missing is NaN."""
    values = batch.column(name)
    kind = pa.float64() if family(values.type) == "text" else values.type
    if family(kind) not in ("boolean", "integer", "float"):
        raise SourceError(f"column '{name}' of source must be of numbers; got {values.type}.", "Name a column of numbers.")
    try:
        return as_floats(values, kind)
    except pa.ArrowInvalid:
        raise SourceError(f"column '{name}' of source must be of numbers; got text.", "Name a column of numbers.") from None


def check_extras(extras: Sequence[str], names: Sequence[str], roles: RolesSpec) -> None:
    """Refuse a column of weights or propensities that is not there, or plays another part."""
    taken = {roles.treatment, roles.outcome, *(roles.covariates if isinstance(roles.covariates, tuple) else ())}
    for name in extras:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            raise SourceError(
                f"weights, propensity and cluster of estimate must name columns of the source; got '{name}', which is not there.",
                f"Did you mean '{close[0]}'?" if close else "See the names in the source's header.",
            )
        if name in taken:
            raise SpecError(
                f"weights, propensity and cluster of estimate must name columns without another part; got '{name}'.", "See the roles."
            )


def strata_of(frame: pd.DataFrame, rows: Sequence[pa.Table], schema: TableSchema) -> npt.NDArray[np.int64] | None:
    """Return the number of each row's stratum, None where there are none; the frame's columns of strata become categories."""
    if not schema.strata:
        return None
    for column in schema.strata:
        frame[column.name] = frame[column.name].astype("category")
    return np.concatenate([strata_codes(each, schema.strata) for each in rows])
