"""The plan of a source: which files and row groups are read together, and the fingerprint of their content."""

from __future__ import annotations

import base64
import hashlib
from typing import Literal

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from tasks.contract.errors import SourceError
from tasks.source import delimited
from tasks.source.locate import Located, format_of, locate, reading

_CHUNK = 4 << 20


class Fragment(BaseModel):
    """What one reader reads: a CSV file, or some row groups of a Parquet file.

    Attributes
    ----------
    path : str
        On the filesystem the source was planned with.
    row_groups : tuple of int or None
        Row groups of a Parquet file; None for CSV.
    rows : int or None
        Rows; None where only reading tells (CSV).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    row_groups: tuple[int, ...] | None
    rows: int | None


class SourcePlan(BaseModel):
    """How a source is read.

    Attributes
    ----------
    uri : str
        As the user wrote it.
    format : str
        ``"parquet"`` or ``"csv"``.
    partition_rows : int
        Most rows of one batch.
    fragments : tuple of Fragment
        In the order of the files' names, then of row groups.
    names, types : tuple of str
        Columns and their Arrow types as text (``"string"`` throughout for CSV).
    arrow : str
        The same as a serialised Arrow schema (base64), types unified over the files.
    conflicting : tuple of str
        Columns whose types differ between files beyond what can be unified; they can't be read.
    fingerprint : str
        SHA-256 over (name below the root, size, SHA-256 of the bytes) of every file: it depends on the content, not on
        where the source lies.
    rows : int or None
        Rows of all fragments, where known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str
    format: Literal["parquet", "csv"]
    partition_rows: int
    fragments: tuple[Fragment, ...]
    names: tuple[str, ...]
    types: tuple[str, ...]
    arrow: str
    conflicting: tuple[str, ...] = ()
    fingerprint: str
    rows: int | None

    def arrow_schema(self) -> pa.Schema:
        """Return the Arrow schema of the batches: every column, nothing selected."""
        return pa.ipc.read_schema(pa.BufferReader(base64.b64decode(self.arrow)))


def plan_source(fs: pafs.FileSystem, path: str, uri: str, partition_rows: int, owner: str = "uri of source") -> SourcePlan:
    """Plan how a source is read.

    Parameters
    ----------
    fs : pyarrow.fs.FileSystem
        Where the source lies.
    path : str
        A file, a folder or a glob on it (see :func:`tasks.source.locate.locate`).
    uri : str
        The same as the user wrote it, for messages.
    partition_rows : int
        Most rows of one batch; row groups are packed up to it.
    owner : str
        What the path was given as, for messages.

    Returns
    -------
    SourcePlan

    Raises
    ------
    SourceError
        If the source is missing, empty, unreadable, of mixed formats, or its files have different columns.
    """
    files = locate(fs, path, uri, owner)
    formats = {format_of(one.path) for one in files}
    if len(formats) > 1:
        raise SourceError(f"files of '{uri}' must be of one format; got Parquet and CSV.", "Name one of them with a glob, e.g. *.parquet.")
    for one in files:
        if one.size == 0:
            raise SourceError(f"file of source must hold rows; got '{_shown(one, uri)}', which is empty (0 bytes).", "")
    if formats == {"csv"}:
        return _plan_csv(fs, files, uri, partition_rows)
    return _plan_parquet(fs, files, uri, partition_rows)


def _plan_csv(fs: pafs.FileSystem, files: tuple[Located, ...], uri: str, partition_rows: int) -> SourcePlan:
    names = delimited.header(fs, files[0].path, _shown(files[0], uri))
    for one in files[1:]:
        _refuse_difference(names, delimited.header(fs, one.path, _shown(one, uri)), _shown(files[0], uri), _shown(one, uri))
    if not any(_has_rows(fs, one, uri, names) for one in files):
        raise SourceError(f"rows of '{uri}' must be at least one; got a header alone.", "")
    schema = pa.schema([pa.field(name, pa.string()) for name in names])
    return SourcePlan(
        uri=uri,
        format="csv",
        partition_rows=partition_rows,
        fragments=tuple(Fragment(path=one.path, row_groups=None, rows=None) for one in files),
        names=names,
        types=tuple("string" for _ in names),
        arrow=_packed(schema),
        fingerprint=_fingerprint(fs, files, uri),
        rows=None,
    )


def _plan_parquet(fs: pafs.FileSystem, files: tuple[Located, ...], uri: str, partition_rows: int) -> SourcePlan:
    fragments: list[Fragment] = []
    schemas: list[pa.Schema] = []
    for one in files:
        shown = _shown(one, uri)
        with reading(shown), fs.open_input_file(one.path) as handle:
            opened = pq.ParquetFile(handle)
            schema, sizes = opened.schema_arrow, [opened.metadata.row_group(n).num_rows for n in range(opened.num_row_groups)]
        delimited.refuse_duplicates(tuple(schema.names), shown)
        if schemas:
            _refuse_difference(tuple(schemas[0].names), tuple(schema.names), _shown(files[0], uri), shown)
        schemas.append(schema)
        fragments += _packed_groups(one.path, sizes, partition_rows)
    rows = sum(fragment.rows or 0 for fragment in fragments)
    if rows == 0:
        raise SourceError(f"rows of '{uri}' must be at least one; got 0.", "")
    unified, conflicting = _unified(schemas)
    return SourcePlan(
        uri=uri,
        format="parquet",
        partition_rows=partition_rows,
        fragments=tuple(fragments),
        names=tuple(unified.names),
        types=tuple(str(kind) for kind in unified.types),
        arrow=_packed(unified),
        conflicting=conflicting,
        fingerprint=_fingerprint(fs, files, uri),
        rows=rows,
    )


def _packed_groups(path: str, sizes: list[int], partition_rows: int) -> list[Fragment]:
    """Pack row groups in their order up to ``partition_rows``; one larger than that stays alone."""
    fragments: list[Fragment] = []
    groups: list[int] = []
    rows = 0
    for number, size in enumerate(sizes):
        if size == 0:
            continue
        if groups and rows + size > partition_rows:
            fragments.append(Fragment(path=path, row_groups=tuple(groups), rows=rows))
            groups, rows = [], 0
        groups.append(number)
        rows += size
    if groups:
        fragments.append(Fragment(path=path, row_groups=tuple(groups), rows=rows))
    return fragments


def _unified(schemas: list[pa.Schema]) -> tuple[pa.Schema, tuple[str, ...]]:
    """Unify the files' types column by column: integers with floats, an all-null column with anything."""
    fields, conflicting = [], []
    for name in schemas[0].names:
        kinds = list(dict.fromkeys(schema.field(name).type for schema in schemas))
        nullable = any(schema.field(name).nullable for schema in schemas)
        kind = kinds[0]
        if len(kinds) > 1:
            one_each = [pa.schema([pa.field(name, each)]) for each in kinds]
            try:
                kind = pa.unify_schemas(one_each, promote_options="permissive").field(0).type
            except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
                conflicting.append(name)
        fields.append(pa.field(name, kind, nullable))
    return pa.schema(fields), tuple(conflicting)


def _refuse_difference(first: tuple[str, ...], other: tuple[str, ...], first_shown: str, other_shown: str) -> None:
    differing = sorted(set(first) ^ set(other))
    if differing:
        listed = ", ".join(f"'{name}'" for name in differing[:8]) + (" and others" if len(differing) > 8 else "")
        raise SourceError(
            f"files of source must have the same columns; got {listed} in only one of '{first_shown}' and '{other_shown}'.",
            "Give every file the same columns, or name the files that belong together with a glob.",
        )


def _has_rows(fs: pafs.FileSystem, one: Located, uri: str, names: tuple[str, ...]) -> bool:
    return any(batch.num_rows for batch in delimited.stream(fs, one.path, _shown(one, uri), names))


def _fingerprint(fs: pafs.FileSystem, files: tuple[Located, ...], uri: str) -> str:
    whole = hashlib.sha256()
    for one in files:
        content = hashlib.sha256()
        with reading(_shown(one, uri)), fs.open_input_stream(one.path, compression=None) as stream:
            while chunk := stream.read(_CHUNK):
                content.update(chunk)
        whole.update(f"{one.relative}\0{one.size}\0{content.hexdigest()}\n".encode())
    return whole.hexdigest()


def _packed(schema: pa.Schema) -> str:
    return base64.b64encode(schema.remove_metadata().serialize().to_pybytes()).decode()


def _shown(one: Located, uri: str) -> str:
    """Name a file in a message: the source's uri, and below a folder or glob the file's own name."""
    return one.relative or uri
