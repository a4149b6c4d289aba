"""Files that carry types: their schemas, their pieces, and the row index that a data frame left in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.json as pajson
import pyarrow.parquet as pq

from tasks.source.formats import Format, open_bytes

#: Names that pandas, R and spreadsheets give to a row index that has none: ``__index_level_0__``, ``Unnamed: 0``, an empty name.
_INDEX = re.compile(r"__index_level_\d+__|Unnamed: ?\d+|\.\.\.1|")


class Stored(NamedTuple):
    """What a file says of itself.

    Attributes
    ----------
    schema : pyarrow.Schema
        Columns as they are read: storage types in place of extension types.
    sizes : list of int or None
        Rows of its pieces; None where it is read as a whole.
    rows : int
    index_columns : tuple of str
        Columns that are a data frame's stored row index.
    """

    schema: pa.Schema
    sizes: list[int] | None
    rows: int
    index_columns: tuple[str, ...]


def is_index_name(name: str) -> bool:
    """Whether a column's name is one that a row index without a name gets."""
    return _INDEX.fullmatch(name) is not None


def look(fs: pafs.FileSystem, path: str, form: Format) -> Stored:
    """Return what a Parquet, Feather or JSON Lines file says of itself."""
    if form == "jsonl":
        with open_bytes(fs, path) as stream:
            table = pajson.read_json(stream)
        return Stored(_readable(table.schema), None, table.num_rows, ())
    with fs.open_input_file(path) as handle:
        if form == "feather":
            opened = pa.ipc.open_file(handle)
            sizes = [opened.get_batch(place).num_rows for place in range(opened.num_record_batches)]
            return Stored(_readable(opened.schema), sizes, sum(sizes), _index(opened.schema))
        file = pq.ParquetFile(handle)
        sizes = [file.metadata.row_group(place).num_rows for place in range(file.num_row_groups)]
        return Stored(_readable(file.schema_arrow), sizes, sum(sizes), _index(file.schema_arrow))


def pieces(
    fs: pafs.FileSystem, path: str, form: Format, groups: Sequence[int] | None, schema: pa.Schema, columns: Sequence[str], rows: int
) -> Iterator[pa.Table]:
    """Read a file piece by piece.

    Parameters
    ----------
    fs : pyarrow.fs.FileSystem
        Where the file lies.
    path, form
        The file and its format.
    groups : sequence of int or None
        Row groups or record batches to read; None for all.
    schema : pyarrow.Schema
        The source's columns.
    columns : sequence of str
        Columns wanted that the file has.
    rows : int
        Most rows of a piece of a Parquet file.
    """
    if form == "jsonl":
        options = pajson.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        with open_bytes(fs, path) as stream:
            for batch in pajson.open_json(stream, parse_options=options):
                yield _stored(pa.Table.from_batches([batch]).select(list(columns)))
        return
    with fs.open_input_file(path) as handle:
        if form == "feather":
            opened = pa.ipc.open_file(handle)
            for place in groups or ():
                yield _stored(pa.Table.from_batches([opened.get_batch(place)]).select(list(columns)))
            return
        # from afar the chunks of all columns in a few ranges at once: each on its own would wait for an answer of its own
        file = pq.ParquetFile(handle, pre_buffer=not isinstance(fs, pafs.LocalFileSystem))
        for batch in file.iter_batches(rows, row_groups=list(groups or ()), columns=list(columns), use_threads=False):
            yield _stored(pa.Table.from_batches([batch]).select(list(columns)))


def unified(schemas: Sequence[pa.Schema]) -> tuple[pa.Schema, tuple[str, ...]]:
    """Unify files' types column by column: integers with floats, texts with dictionaries of texts, an all-null column with anything.

    Returns
    -------
    pyarrow.Schema, tuple of str
        The unified types, and the columns for which there are none.
    """
    fields, conflicting = [], []
    for name in schemas[0].names:
        kinds = list(dict.fromkeys(schema.field(name).type for schema in schemas))
        nullable = any(schema.field(name).nullable for schema in schemas)
        kind = kinds[0]
        if len(kinds) > 1:
            try:
                kind = _common(name, kinds)
            except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
                conflicting.append(name)
        fields.append(pa.field(name, kind, nullable))
    return pa.schema(fields), tuple(conflicting)


def _common(name: str, kinds: Sequence[pa.DataType]) -> pa.DataType:
    typed = [kind for kind in kinds if not pa.types.is_null(kind)]
    if len(typed) > 1 and any(pa.types.is_dictionary(kind) for kind in typed):
        same = all(pa.types.is_dictionary(kind) and kind.value_type == typed[0].value_type for kind in typed)
        if same:  # of one kind of values, indexed by integers of several widths
            return pa.dictionary(pa.int32(), typed[0].value_type, any(kind.ordered for kind in typed))
        typed = [kind.value_type if pa.types.is_dictionary(kind) else kind for kind in typed]
    one_each = [pa.schema([pa.field(name, kind)]) for kind in typed]
    return pa.unify_schemas(one_each, promote_options="permissive").field(0).type


def _readable(schema: pa.Schema) -> pa.Schema:
    return pa.schema([pa.field(field.name, _storage(field.type), field.nullable) for field in schema])


def _storage(kind: pa.DataType) -> pa.DataType:
    """Return the type an extension type is stored as; identifiers of 16 bytes (uuid) are read as text."""
    if isinstance(kind, pa.BaseExtensionType):
        kind = pa.string() if kind.extension_name == "arrow.uuid" else kind.storage_type
    if pa.types.is_run_end_encoded(kind):
        return kind.value_type
    return kind


def _stored(table: pa.Table) -> pa.Table:
    """Return a table with storage types in place of extension types."""
    for place, field in enumerate(table.schema):
        wanted = _storage(field.type)
        if wanted == field.type:
            continue
        column = table.column(place)
        if isinstance(field.type, pa.BaseExtensionType) and field.type.extension_name == "arrow.uuid":
            texts = [None if value is None else str(value) for value in column.to_pylist()]
            column = pa.chunked_array([pa.array(texts, pa.string())])
        elif isinstance(field.type, pa.BaseExtensionType):
            column = pa.chunked_array([chunk.storage for chunk in column.chunks], wanted)
        else:
            column = column.cast(wanted)
        table = table.set_column(place, field.with_type(wanted), column)
    return table


def _index(schema: pa.Schema) -> tuple[str, ...]:
    """Return the stored index columns that a file's pandas metadata names, or whose names give them away."""
    named: list[str] = []
    raw = (schema.metadata or {}).get(b"pandas")
    if raw is not None:
        try:
            named = [name for name in json.loads(raw).get("index_columns", []) if isinstance(name, str)]
        except (ValueError, AttributeError):
            named = []
    return tuple(name for name in schema.names if name in named or is_index_name(name))
