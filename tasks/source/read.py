"""The rows of one fragment, in batches small enough to hold."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from tasks.contract.errors import SourceError
from tasks.source import delimited
from tasks.source.locate import reading
from tasks.source.plan import Fragment, SourcePlan


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
    mixed = [name for name in wanted if name in plan.conflicting]
    if mixed:
        raise SourceError(f"column '{mixed[0]}' of source must have one type in all files; got several.", "Cast it to one type.")
    yield from _sized(_batches(fs, plan, fragment, wanted), plan.partition_rows)


def _batches(fs: pafs.FileSystem, plan: SourcePlan, fragment: Fragment, columns: tuple[str, ...]) -> Iterator[pa.Table]:
    shown = plan.uri if len({one.path for one in plan.fragments}) == 1 else posixpath.basename(fragment.path)
    if fragment.row_groups is None:
        for batch in delimited.stream(fs, fragment.path, shown, columns):
            yield pa.Table.from_batches([batch])
        return
    whole = plan.arrow_schema()
    schema = pa.schema([whole.field(name) for name in columns])
    with reading(shown), fs.open_input_file(fragment.path) as handle:
        opened = pq.ParquetFile(handle)
        for batch in opened.iter_batches(
            plan.partition_rows, row_groups=list(fragment.row_groups), columns=list(columns), use_threads=False
        ):
            table = pa.Table.from_batches([batch]).select(list(columns))
            yield table if table.schema.equals(schema) else table.cast(schema)


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
