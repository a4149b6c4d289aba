"""How a source is read: its fragments, its columns and the fingerprint of its content."""

from __future__ import annotations

import base64

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from tasks.contract.spec import ReadingSpec
from tasks.source.detection import Unclear
from tasks.source.dialect import Dialect
from tasks.source.formats import Format


class Fragment(BaseModel):
    """What one reader reads: a text file, or some row groups of a Parquet or Feather file.

    Attributes
    ----------
    path : str
        On the filesystem the source was planned with.
    row_groups : tuple of int or None
        Row groups of a Parquet file, record batches of a Feather file; None for text files.
    rows : int or None
        Rows; None where only reading tells (CSV).
    folders : dict of str to str or None
        Partition columns by the names of the file's folders; None is missing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    row_groups: tuple[int, ...] | None
    rows: int | None
    folders: dict[str, str | None] = {}


class SourcePlan(BaseModel):
    """How a source is read.

    Attributes
    ----------
    uri : str
        As the user wrote it.
    format : str
        ``"parquet"``, ``"feather"``, ``"jsonl"`` or ``"csv"``; only the last has text for types.
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
    unclear : dict of str to Unclear
        Columns of CSV files that can't be read before something is declared.
    index : tuple of str
        Columns that are the stored row index of a data frame: no part of ``"*"``.
    dialect : Dialect or None
        Of CSV files.
    reading : ReadingSpec
        What the SPEC says of missing cells and dialect.
    notes : tuple of str
        What a user should know of how the source is read, one line each.
    fingerprint : str
        SHA-256 over (name below the root, size, SHA-256 of the bytes) of every file: it depends on the content, not on
        where the source lies.
    rows : int or None
        Rows of all fragments, where known.
    stamps : dict of str to str
        Size and time of change of every file by its path, from before its first byte was read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str
    format: Format
    partition_rows: int
    fragments: tuple[Fragment, ...]
    names: tuple[str, ...]
    types: tuple[str, ...]
    arrow: str
    conflicting: tuple[str, ...] = ()
    unclear: dict[str, Unclear] = {}
    index: tuple[str, ...] = ()
    dialect: Dialect | None = None
    reading: ReadingSpec = ReadingSpec()
    notes: tuple[str, ...] = ()
    fingerprint: str
    rows: int | None
    stamps: dict[str, str] = {}

    def arrow_schema(self) -> pa.Schema:
        """Return the Arrow schema of the batches: every column, nothing selected."""
        return pa.ipc.read_schema(pa.BufferReader(base64.b64decode(self.arrow)))
