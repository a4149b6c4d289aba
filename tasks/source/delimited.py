"""CSV out of core, every column as text, so that no type depends on where a block ends."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.fs as pafs

from tasks.contract.errors import SourceError
from tasks.source.detection import clean_names
from tasks.source.dialect import Dialect, rewritten
from tasks.source.formats import open_bytes
from tasks.source.locate import reading

BLOCK_BYTES = 8 << 20
_HEAD_BYTES = 1 << 20


def header(fs: pafs.FileSystem, path: str, shown: str, dialect: Dialect) -> tuple[str, ...]:
    """Read the column names of a CSV file as they are written.

    Parameters
    ----------
    fs : pyarrow.fs.FileSystem
        Where the file lies.
    path, shown : str
        The file, and how messages name it.
    dialect : Dialect
        How it is written.

    Returns
    -------
    tuple of str

    Raises
    ------
    SourceError
        If the file is empty, is no text of the encoding, names a column twice or has no names.
    """
    with reading(shown), open_bytes(fs, path) as stream:
        head = stream.read(_HEAD_BYTES)
    text = _decode_head(head, shown, dialect.encoding)
    names = _names(text.split("\n", dialect.skipped)[-1], shown, dialect)
    refuse_duplicates(clean_names(names), shown)
    if len(names) < 3:
        raise SourceError(
            f"columns of '{shown}' must be at least three (treatment, outcome, a covariate); got {len(names)}.",
            'Declare the separator, e.g. source.csv = { separator = ";" }.',
        )
    return names


def _names(text: str, shown: str, dialect: Dialect) -> tuple[str, ...]:
    """Split off the first record, and let the reader of the rows read its names, so that the two always agree."""
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=dialect.separator, quotechar=dialect.quote or None, quoting=quoting)
    try:
        first = next((row for row in rows if row), None)
        if first is None:
            raise SourceError(f"file of source must hold rows; got '{shown}', which is empty.", "")
        record = "".join(list(io.StringIO(text, newline=""))[: rows.line_num]).strip("\r\n") + "\n"
        opened = pacsv.open_csv(pa.BufferReader(record.encode()), parse_options=_parsing(dialect))
    except (csv.Error, pa.ArrowInvalid):
        raise SourceError(f"header of '{shown}' must be one row of separated names; got something else.", "") from None
    return tuple(opened.schema.names)


def _parsing(dialect: Dialect, **more: object) -> pacsv.ParseOptions:
    return pacsv.ParseOptions(delimiter=dialect.separator, quote_char=dialect.quote or False, newlines_in_values=True, **more)


def refuse_duplicates(names: tuple[str, ...], shown: str) -> None:
    """Raise ``SourceError`` where a column name stands twice."""
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        listed = ", ".join(f"'{name}'" for name in twice[:5])
        raise SourceError(f"column names of '{shown}' must be distinct; got {listed} more than once.", "Rename or drop the copies.")


def stream(
    fs: pafs.FileSystem, path: str, shown: str, columns: Sequence[str], dialect: Dialect, codes: frozenset[str]
) -> Iterator[pa.Table]:
    """Read a CSV file block by block.

    Parameters
    ----------
    fs : pyarrow.fs.FileSystem
        Where the file lies.
    path, shown : str
        The file, and how messages name it.
    columns : sequence of str
        Columns to keep, in this order, by their clean names.
    dialect : Dialect
        How the file is written.
    codes : frozenset of str
        Unquoted cells that mean missing, blanks around them included. Quoted text is text; a cell of blanks is missing, quoted or not.

    Yields
    ------
    pyarrow.Table
        Every column of type string; numbers and dates of the dialect as program code writes them.

    Raises
    ------
    SourceError
        If a row has more or fewer cells than the header, bytes are no text of the encoding, or a quote is left open.
    """
    ragged: list[pacsv.InvalidRow] = []

    def refuse(row: pacsv.InvalidRow) -> str:
        ragged.append(row)
        return "error"

    written = header(fs, path, shown, dialect)
    raw = {name: stored for name, stored in zip(clean_names(written), written) if name in columns}
    nulls = sorted({form for code in codes for form in (code, f" {code}", f"{code} ", f" {code} ")})
    try:
        raw = {name: raw[name] for name in columns}
        with open_bytes(fs, path) as source:
            reader = pacsv.open_csv(
                source,
                read_options=pacsv.ReadOptions(
                    use_threads=False, block_size=BLOCK_BYTES, skip_rows=dialect.skipped, encoding=_arrow_encoding(dialect.encoding)
                ),
                parse_options=_parsing(dialect, invalid_row_handler=refuse),
                convert_options=pacsv.ConvertOptions(
                    column_types={stored: pa.string() for stored in raw.values()},
                    include_columns=list(raw.values()),
                    null_values=nulls,
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                ),
            )
            for batch in reader:
                yield rewritten(pa.Table.from_batches([batch]), dialect, raw)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        if "Empty CSV file" in str(error) and not ragged:
            return  # a header without a line end behind it: a table of no rows
        raise _reading_error(error, ragged, shown) from None
    except KeyError:
        raise SourceError(
            f"header of '{shown}' must be as it was when planned; got other names.", "Run again once it is at rest."
        ) from None
    except OSError:
        with reading(shown):
            raise


def _arrow_encoding(encoding: str) -> str:
    """Return the name under which Arrow reads UTF-8 itself, byte order mark and all; other encodings go through Python."""
    return "utf8" if encoding.lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig", "ascii") else encoding


def _reading_error(error: Exception, ragged: list[pacsv.InvalidRow], shown: str) -> SourceError:
    """Say what is wrong with a CSV file without repeating what stands in it."""
    text = str(error)
    if ragged:
        row = ragged[0]
        return SourceError(
            f"row {row.number} of '{shown}' must have {row.expected_columns} cells, as the header has; got {row.actual_columns}.",
            "Rows are counted from the header as row 1, blank lines left out; a cell that holds a separator must be quoted.",
        )
    if "utf" in text.lower():
        return SourceError(
            f"text of '{shown}' must be UTF-8; got bytes that are not.", 'Declare it, e.g. source.csv = { encoding = "cp1252" }.'
        )
    if "straddl" in text or "out of sync" in text:
        return SourceError(f"a row of '{shown}' must be shorter than {BLOCK_BYTES >> 20} MiB; got a longer one.", "Is a quote left open?")
    return SourceError(f"file of source must be a readable CSV file; got '{shown}', which is not.", "Is a quote left open?")


def _decode_head(head: bytes, shown: str, encoding: str) -> str:
    encoding = "utf-8-sig" if _arrow_encoding(encoding) == "utf8" else encoding
    try:
        return head.decode(encoding)
    except UnicodeDecodeError as error:
        # a fault far from the first line is the row reader's to tell; a cut through the last character is none
        if b"\n" not in head[: error.start]:
            raise SourceError(
                f"text of '{shown}' must be {encoding.removesuffix('-sig').upper()}; got bytes that are not.",
                'Declare it, e.g. source.csv = { encoding = "cp1252" }.',
            ) from None
        return head[: error.start].decode(encoding)
