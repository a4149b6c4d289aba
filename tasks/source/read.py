"""The rows of one fragment, in batches small enough to hold."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.fs as pafs

from tasks.contract.errors import SourceError
from tasks.source import delimited
from tasks.source.detection import clean_names
from tasks.source.folders import with_partition
from tasks.source.fragments import Fragment, SourcePlan
from tasks.source.locate import reading
from tasks.source.missing import missing_codes, without_values
from tasks.source.stored import look, pieces


def read_batches(fs: pafs.FileSystem, plan: SourcePlan, fragment: Fragment, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Read one fragment.

    Parameters
    ----------
    fs : pyarrow.fs.FileSystem
        Where the source lies.
    plan : SourcePlan
        The source's plan.
    fragment : Fragment
        One of its fragments.
    columns : sequence of str, optional
        Columns to read; all others are left alone. None reads every column whose type is the same in all files.

    Yields
    ------
    pyarrow.Table
        Of 1 to ``plan.partition_rows`` rows; columns in the given order, with the plan's types (all text for CSV).

    Raises
    ------
    SourceError
        If the file is gone, damaged, or not what was planned.
    """
    wanted = tuple(name for name in plan.names if name not in plan.conflicting) if columns is None else tuple(columns)
    absent = [name for name in wanted if name not in plan.names]
    if absent:
        raise SourceError(f"columns of source must contain '{absent[0]}'; got {len(plan.names)} others.", "")
    for fault in column_faults(plan, wanted):
        raise fault
    yield from _sized(_batches(fs, plan, fragment, wanted), plan.partition_rows)


def column_faults(plan: SourcePlan, columns: Sequence[str]) -> list[SourceError]:
    """Return why some of the columns can't be read, one error each."""
    faults = [SourceError(*plan.unclear[name]) for name in columns if name in plan.unclear]
    return faults + [
        SourceError(f"column '{name}' of source must have one type in all files; got several.", "Cast it to one type.")
        for name in columns
        if name in plan.conflicting
    ]


def _batches(fs: pafs.FileSystem, plan: SourcePlan, fragment: Fragment, columns: tuple[str, ...]) -> Iterator[pa.Table]:
    shown = plan.uri if len({one.path for one in plan.fragments}) == 1 else posixpath.basename(fragment.path)
    whole = plan.arrow_schema()
    schema = pa.schema([whole.field(name) for name in columns])
    folders = {name: text for name, text in fragment.folders.items() if name in columns}
    for batch in _stored_batches(fs, plan, fragment, columns, shown):
        table = with_partition(batch, folders, schema, shown).select(list(columns))
        table = table if table.schema.equals(schema) else _cast(table, schema)
        yield without_values(table, plan.reading, plan.format == "csv")


def _stored_batches(fs: pafs.FileSystem, plan: SourcePlan, fragment: Fragment, columns: tuple[str, ...], shown: str) -> Iterator[pa.Table]:
    """Read what the file itself holds of the columns."""
    if plan.dialect is not None:
        held = [name for name in columns if name not in fragment.folders or name in _header(fs, plan, fragment, shown)]
        yield from delimited.stream(fs, fragment.path, shown, held, plan.dialect, missing_codes(plan.reading))
        return
    with reading(shown):
        if fragment.folders:
            names = look(fs, fragment.path, plan.format).schema.names
            held = [name for name in columns if name in names]
        else:
            held = list(columns)
        # a column at least, to carry the number of rows
        kept = held or look(fs, fragment.path, plan.format).schema.names[:1]
        yield from pieces(fs, fragment.path, plan.format, fragment.row_groups, plan.arrow_schema(), kept, plan.partition_rows)


def _header(fs: pafs.FileSystem, plan: SourcePlan, fragment: Fragment, shown: str) -> tuple[str, ...]:
    assert plan.dialect is not None  # a CSV file's plan has one
    return clean_names(delimited.header(fs, fragment.path, shown, plan.dialect))


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Cast to the plan's types; dictionaries go through their values where indices differ in width."""
    arrays = []
    for name, field in zip(table.column_names, schema):
        column = table.column(name)
        if column.type != field.type and pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
            column = column.dictionary_encode() if pa.types.is_dictionary(field.type) else column
        arrays.append(column.cast(field.type))
    return pa.table(arrays, schema=schema)


def _sized(batches: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Cut and join batches to exactly ``rows`` rows each, the last one shorter."""
    held: list[pa.Table] = []
    count = 0
    for batch in batches:
        held.append(batch)
        count += batch.num_rows
        while count >= rows:
            joined = pa.concat_tables(held)
            yield joined.slice(0, rows)
            held, count = [joined.slice(rows)], count - rows
    if count:
        yield pa.concat_tables(held)
