"""Partition columns: what the folders' names of a table say, ``site=north/year=2020``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import unquote

import pyarrow as pa

from tasks.contract.errors import SourceError
from tasks.source.evidence import readings_of, type_of
from tasks.source.locate import Located
from tasks.source.values import as_floats, is_text, plain_values

#: How Hive and Spark name the folder of missing values.
_MISSING = "__HIVE_DEFAULT_PARTITION__"


def partition_values(one: Located) -> dict[str, str | None]:
    """Return the partition columns of a file with its values as text, outermost folder first; None is missing."""
    pairs = (folder.partition("=") for folder in one.relative.split("/")[:-1])
    return {unquote(name): None if text == _MISSING else unquote(text) for name, mark, text in pairs if mark and name}


def partition_schema(files: Sequence[Located], uri: str) -> pa.Schema:
    """Return the partition columns of a table, typed by all their values.

    Parameters
    ----------
    files : sequence of Located
        The table's files.
    uri : str
        The source, for messages.

    Returns
    -------
    pyarrow.Schema
        Boolean, integer, float, date, timestamp or text; no fields where folders' names say nothing.

    Raises
    ------
    SourceError
        If files lie in folders of different partition columns.
    """
    values_of = [partition_values(one) for one in files]
    names = tuple(values_of[0])
    for one, values in zip(files, values_of):
        if tuple(values) != names:
            differing = ", ".join(f"'{name}'" for name in sorted(set(values) ^ set(names)) or names)
            raise SourceError(
                f"folders of '{uri}' must have the same partition columns; got {differing} not for every file, as for '{one.relative}'.",
                "Give every file the same NAME=VALUE folders, or name those that belong together with a glob.",
            )
    kinds = {name: _type([values[name] for values in values_of]) for name in names}
    return pa.schema([pa.field(name, kinds[name]) for name in names])


def _type(texts: Sequence[str | None]) -> pa.DataType:
    present = pa.array(sorted({text for text in texts if text is not None}), pa.string())
    return type_of(readings_of(present)) if len(present) else pa.string()


def with_partition(batch: pa.Table, values: Mapping[str, str | None], schema: pa.Schema, shown: str) -> pa.Table:
    """Give a batch of one file its partition columns.

    Parameters
    ----------
    batch : pyarrow.Table
        Of one file, as it is stored.
    values : mapping of str to str or None
        Of the file's folders, for the columns wanted.
    schema : pyarrow.Schema
        Types wanted of these columns.
    shown : str
        The file, for messages.

    Raises
    ------
    SourceError
        If the file has the column too, with other values.
    """
    for name, text in values.items():
        kind = schema.field(name).type
        if name not in batch.column_names:
            batch = batch.append_column(name, _repeated(text, kind, batch.num_rows))
        elif not _agrees(batch.column(name), text):
            raise SourceError(
                f"column '{name}' of '{shown}' must agree with the folder's name; got other values.",
                "Rename the column or the folder: they say different things.",
            )
    return batch


def _repeated(text: str | None, kind: pa.DataType, rows: int) -> pa.Array:
    return pa.nulls(rows, kind) if text is None else pa.repeat(pa.array([text]).cast(kind)[0], rows)


def _agrees(column: pa.ChunkedArray, text: str | None) -> bool:
    cells = plain_values(column).unique()
    if text is None:
        return bool(cells.null_count == len(cells))
    if len(cells) != 1 or cells.null_count:
        return not len(cells)
    wanted = pa.array([text])
    try:
        if is_text(cells.type):
            cells = cells.cast(pa.string())
            return bool(cells[0].as_py().strip() == text.strip()) or bool(as_floats(cells, pa.float64())[0] == float(text))
        return bool(as_floats(cells, cells.type)[0] == as_floats(wanted, cells.type)[0])
    except (pa.ArrowInvalid, ValueError):
        return False
