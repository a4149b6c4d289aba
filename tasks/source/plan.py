"""The plan of a source: which files and row groups are read together, and the fingerprint of their content."""

from __future__ import annotations

import base64
import hashlib
from typing import NamedTuple

import pyarrow as pa
import pyarrow.fs as pafs

from tasks.contract.errors import SourceError
from tasks.contract.spec import ReadingSpec
from tasks.source import delimited
from tasks.source.detection import Unclear, clean_names, detect, sample
from tasks.source.dialect import Dialect
from tasks.source.folders import partition_schema, partition_values
from tasks.source.formats import Format, format_of
from tasks.source.fragments import Fragment, SourcePlan
from tasks.source.locate import Located, locate, reading, stamps_of
from tasks.source.missing import missing_codes
from tasks.source.stored import Stored, is_index_name, unified
from tasks.source.stored import look as look_stored

_CHUNK = 4 << 20
#: Further CSV files whose first rows are looked at for the dialect.
_SAMPLED = 7


class _Columns(NamedTuple):
    """What a format's files say of a source's columns."""

    schema: pa.Schema
    fragments: tuple[Fragment, ...]
    rows: int | None
    conflicting: tuple[str, ...] = ()
    unclear: dict[str, Unclear] = {}  # noqa: RUF012 - never written to
    index_columns: tuple[str, ...] = ()
    dialect: Dialect | None = None
    notes: tuple[str, ...] = ()


def plan_source(
    fs: pafs.FileSystem,
    path: str,
    uri: str,
    partition_rows: int,
    owner: str = "uri of source",
    wishes: ReadingSpec | None = None,
) -> SourcePlan:
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
    wishes : ReadingSpec, optional
        Missing codes and dialect, where the SPEC declares them.

    Returns
    -------
    SourcePlan

    Raises
    ------
    SourceError
        If the source is missing, empty, unreadable, of mixed formats, or its files have different columns.
    """
    wanted = ReadingSpec() if wishes is None else ReadingSpec(missing=wishes.missing, missing_values=wishes.missing_values, csv=wishes.csv)
    files = locate(fs, path, uri, owner)
    stamps = stamps_of(fs, [one.path for one in files], uri)
    formats = {form for one in files if (form := format_of(one.path)) is not None}
    if len(formats) > 1:
        listed = " and ".join(sorted(formats))
        raise SourceError(f"files of '{uri}' must be of one format; got {listed}.", "Name one of them with a glob, e.g. *.parquet.")
    for one in files:
        if one.size == 0:
            raise SourceError(f"file of source must hold rows; got '{_shown(one, uri)}', which is empty (0 bytes).", "")
    form = formats.pop()
    planned = _plan_csv(fs, files, uri, wanted) if form == "csv" else _plan_typed(fs, files, uri, form, partition_rows)
    planned = _with_folders(planned, files, uri, form)
    absent = [name for name in (*wanted.missing_values, *wanted.dialect.dates) if name not in planned.schema.names]
    if absent:
        raise SourceError(f"missing_values and csv.dates of source must name its columns; got '{absent[0]}', which is not there.", "")
    return SourcePlan(
        uri=uri,
        format=form,
        partition_rows=partition_rows,
        fragments=planned.fragments,
        names=tuple(planned.schema.names),
        types=tuple(str(kind) for kind in planned.schema.types),
        arrow=_packed(planned.schema),
        conflicting=planned.conflicting,
        unclear=planned.unclear,
        index=planned.index_columns,
        dialect=planned.dialect,
        reading=wanted,
        notes=planned.notes,
        fingerprint=_fingerprint(fs, files, uri),
        rows=planned.rows,
        stamps=stamps,
    )


def _with_folders(planned: _Columns, files: tuple[Located, ...], uri: str, form: Format) -> _Columns:
    """Add the partition columns that the folders' names say."""
    added = partition_schema(files, uri)
    if not len(added):
        return planned
    folders = {one.path: partition_values(one) for one in files}
    schema = planned.schema
    for field in added:
        if field.name not in schema.names:
            schema = schema.append(pa.field(field.name, pa.string()) if form == "csv" else field)
    fragments = tuple(fragment.model_copy(update={"folders": folders[fragment.path]}) for fragment in planned.fragments)
    listed = ", ".join(f"'{field.name}' ({field.type})" for field in added)
    note = f"'{uri}' is partitioned: {listed} {'is a column' if len(added) == 1 else 'are columns'} by the names of its folders."
    return planned._replace(schema=schema, fragments=fragments, notes=(*planned.notes, note))


def _plan_csv(fs: pafs.FileSystem, files: tuple[Located, ...], uri: str, wanted: ReadingSpec) -> _Columns:
    codes = missing_codes(wanted)
    first = sample(fs, files[0].path, _shown(files[0], uri), wanted.dialect)
    plain = Dialect(separator=first.separator, quote=first.quote, encoding=first.encoding, skipped=first.skipped)
    names = clean_names(delimited.header(fs, files[0].path, _shown(files[0], uri), plain))
    samples = [first]
    for place, one in enumerate(files[1:]):
        header_names = clean_names(delimited.header(fs, one.path, _shown(one, uri), plain))
        _refuse_difference(names, header_names, _shown(files[0], uri), _shown(one, uri))
        if place < _SAMPLED and header_names == names:
            same = {"encoding": first.encoding, "separator": first.separator, "quote": first.quote, "skip": first.skipped}
            fixed = wanted.dialect.model_copy(update=same)
            samples.append(sample(fs, one.path, _shown(one, uri), fixed))
    dialect, unclear = detect(samples, names, wanted.dialect, codes)
    if not any(_has_rows(fs, one, uri, names, dialect, codes) for one in files):
        raise SourceError(f"rows of '{uri}' must be at least one; got a header alone.", "")
    return _Columns(
        schema=pa.schema([pa.field(name, pa.string()) for name in names]),
        fragments=tuple(Fragment(path=one.path, row_groups=None, rows=None) for one in files),
        rows=None,
        unclear=unclear,
        index_columns=tuple(name for name in names if is_index_name(name)),
        dialect=dialect,
        notes=(line,) if (line := dialect.line(uri)) else (),
    )


def _plan_typed(fs: pafs.FileSystem, files: tuple[Located, ...], uri: str, form: Format, partition_rows: int) -> _Columns:
    fragments: list[Fragment] = []
    stored: list[Stored] = []
    for one in files:
        shown = _shown(one, uri)
        with reading(shown):
            look = look_stored(fs, one.path, form)
        delimited.refuse_duplicates(tuple(look.schema.names), shown)
        if stored:
            _refuse_difference(tuple(stored[0].schema.names), tuple(look.schema.names), _shown(files[0], uri), shown)
        stored.append(look)
        if look.sizes is None:
            fragments.append(Fragment(path=one.path, row_groups=None, rows=look.rows))
        else:
            fragments += _packed_groups(one.path, look.sizes, partition_rows)
    rows = sum(fragment.rows or 0 for fragment in fragments)
    if rows == 0:
        raise SourceError(f"rows of '{uri}' must be at least one; got 0.", "")
    schema, conflicting = unified([one.schema for one in stored])
    index = [name for one in stored for name in one.index_columns]
    return _Columns(schema, tuple(fragments), rows, conflicting=conflicting, index_columns=tuple(dict.fromkeys(index)))


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


def _refuse_difference(first: tuple[str, ...], other: tuple[str, ...], first_shown: str, other_shown: str) -> None:
    differing = sorted(set(first) ^ set(other))
    if differing:
        listed = ", ".join(f"'{name}'" for name in differing[:8]) + (" and others" if len(differing) > 8 else "")
        raise SourceError(
            f"files of source must have the same columns; got {listed} in only one of '{first_shown}' and '{other_shown}'.",
            "Give every file the same columns, or name the files that belong together with a glob.",
        )


def _has_rows(fs: pafs.FileSystem, one: Located, uri: str, names: tuple[str, ...], dialect: Dialect, codes: frozenset[str]) -> bool:
    plain = dialect.model_copy(update={"numbers": (), "dates": {}})
    return any(batch.num_rows for batch in delimited.stream(fs, one.path, _shown(one, uri), names, plain, codes))


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
