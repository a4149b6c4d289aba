"""Reading the table that ``waymint estimate`` works on: batches, canonical rows, and columns of weights or propensities beside them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from infra.store import filesystem
from tasks.contract.errors import SourceError, SpecError
from tasks.contract.nuisance import Float64
from tasks.contract.roles import TableSchema
from tasks.contract.spec import RolesSpec
from tasks.source.builtin import BUILTIN, load_builtin
from tasks.source.plan import plan_source
from tasks.source.read import read_batches
from tasks.source.rows import canonical
from tasks.source.values import as_floats, family, is_missing

Reader = Callable[[Sequence[str]], Iterator[pa.Table]]
Beside = tuple[Float64 | None, Float64 | None]

BATCH_ROWS = 250_000


def open_table(data: str) -> tuple[tuple[str, ...], str, Reader]:
    """Return the columns of a table, its format and what reads the wanted ones in batches, as often as asked."""
    if data.startswith(BUILTIN):
        whole = load_builtin(data.removeprefix(BUILTIN))
        return tuple(whole.column_names), "parquet", lambda names: iter([whole.select(list(names))])
    fs, path = filesystem(data)
    plan = plan_source(fs, path, data, BATCH_ROWS, "DATA of estimate")

    def read(names: Sequence[str]) -> Iterator[pa.Table]:
        for fragment in plan.fragments:
            yield from read_batches(fs, plan, fragment, names)

    return plan.names, plan.format, read


def canonical_rows(batch: pa.Table, schema: TableSchema, form: str, options: dict[str, Any]) -> tuple[pa.Table, Beside]:
    """Give a batch its canonical form, and read weights and propensities of the same rows."""
    rows = canonical(batch, schema, form)
    used = ~(is_missing(batch.column(schema.treatment.name)) | is_missing(batch.column(schema.outcome.name)))
    beside = [
        None if not isinstance(name, str) else numbers_of(batch, name)[used] for name in (options.get("weights"), options["propensity"])
    ]
    if any(values is not None and len(values) != rows.num_rows for values in beside):
        raise SourceError(
            f"treatment and outcome of source must be missing in the same rows at each reading; got {rows.num_rows} rows.", ""
        )
    return rows, (beside[0], beside[1])


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
                f"weights and propensity of estimate must name columns of the source; got '{name}', which is not there.",
                f"Did you mean '{close[0]}'?" if close else "See the names in the source's header.",
            )
        if name in taken:
            raise SpecError(f"weights and propensity of estimate must name columns without another part; got '{name}'.", "See the roles.")
