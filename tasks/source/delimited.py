"""CSV out of core, every column as text, so that no type depends on where a block ends."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.fs as pafs

from tasks.contract.errors import SourceError
from tasks.source.locate import reading

MISSING = ("", "NA", "NaN", "nan", "null", "NULL", "None", "N/A")
BLOCK_BYTES = 8 << 20
_HEAD_BYTES = 1 << 20


def header(fs: pafs.FileSystem, path: str, shown: str) -> tuple[str, ...]:
    """Read the column names of a CSV file.

    Parameters
    ----------
    fs : pyarrow.fs.FileSystem
        Where the file lies.
    path, shown : str
        The file, and how messages name it.

    Returns
    -------
    tuple of str

    Raises
    ------
    SourceError
        If the file is empty, is no UTF-8 text, names a column twice or has no names.
    """
    with reading(shown), _open(fs, path) as stream:
        head = stream.read(_HEAD_BYTES)
    text = _decode_head(head, shown)
    names = _names(text, shown)
    refuse_duplicates(names, shown)
    if len(names) < 3:
        raise SourceError(
            f"columns of '{shown}' must be at least three (treatment, outcome, a covariate); got {len(names)}.",
            "Cells must be separated by commas." if any(mark in text.split("\n", 1)[0] for mark in ";\t|") else "",
        )
    return names


def _names(text: str, shown: str) -> tuple[str, ...]:
    """Split off the first record, and let the reader of the rows read its names, so that the two always agree."""
    rows = csv.reader(io.StringIO(text, newline=""))
    try:
        first = next((row for row in rows if row), None)
        if first is None:
            raise SourceError(f"file of source must hold rows; got '{shown}', which is empty.", "")
        record = "".join(list(io.StringIO(text, newline=""))[: rows.line_num]).strip("\r\n") + "\n"
        opened = pacsv.open_csv(pa.BufferReader(record.encode()), parse_options=pacsv.ParseOptions(newlines_in_values=True))
    except (csv.Error, pa.ArrowInvalid):
        raise SourceError(f"header of '{shown}' must be one row of comma separated names; got something else.", "") from None
    return tuple(opened.schema.names)


def refuse_duplicates(names: tuple[str, ...], shown: str) -> None:
    """Raise ``SourceError`` where a column name stands twice."""
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        listed = ", ".join(f"'{name}'" for name in twice[:5])
        raise SourceError(f"column names of '{shown}' must be distinct; got {listed} more than once.", "Rename or drop the copies.")


def stream(fs: pafs.FileSystem, path: str, shown: str, columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    """Read a CSV file block by block.

    Parameters
    ----------
    fs : pyarrow.fs.FileSystem
        Where the file lies.
    path, shown : str
        The file, and how messages name it.
    columns : tuple of str
        Columns to keep, in this order.

    Yields
    ------
    pyarrow.RecordBatch
        Every column of type string; cells in ``MISSING``, quoted or not, are null.

    Raises
    ------
    SourceError
        If a row has more or fewer cells than the header, bytes are no UTF-8, or a quote is left open.
    """
    ragged: list[pacsv.InvalidRow] = []

    def refuse(row: pacsv.InvalidRow) -> str:
        ragged.append(row)
        return "error"

    try:
        with _open(fs, path) as source:
            reader = pacsv.open_csv(
                source,
                read_options=pacsv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
                parse_options=pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=refuse),
                convert_options=pacsv.ConvertOptions(
                    column_types={name: pa.string() for name in columns},
                    include_columns=list(columns),
                    null_values=list(MISSING),
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=True,
                ),
            )
            yield from reader
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        if "Empty CSV file" in str(error) and not ragged:
            return  # a header without a line end behind it: a table of no rows
        raise _told(error, ragged, shown) from None
    except KeyError:
        raise SourceError(
            f"header of '{shown}' must be as it was when planned; got other names.", "Run again once it is at rest."
        ) from None
    except OSError:
        with reading(shown):
            raise


def _told(error: Exception, ragged: list[pacsv.InvalidRow], shown: str) -> SourceError:
    """Say what is wrong with a CSV file without repeating what stands in it."""
    text = str(error)
    if ragged:
        row = ragged[0]
        return SourceError(
            f"row {row.number} of '{shown}' must have {row.expected_columns} cells, as the header has; got {row.actual_columns}.",
            "Rows are counted from the header as row 1, blank lines left out; a cell that holds a comma must be quoted.",
        )
    if "utf" in text.lower():
        return SourceError(f"text of '{shown}' must be UTF-8; got bytes that are not.", "Save the file as UTF-8.")
    if "straddl" in text or "out of sync" in text:
        return SourceError(f"a row of '{shown}' must be shorter than {BLOCK_BYTES >> 20} MiB; got a longer one.", "Is a quote left open?")
    return SourceError(f"file of source must be a readable CSV file; got '{shown}', which is not.", "Is a quote left open?")


def _open(fs: pafs.FileSystem, path: str) -> pa.NativeFile:
    return fs.open_input_stream(path, compression="gzip" if path.lower().endswith(".gz") else None)


def _decode_head(head: bytes, shown: str) -> str:
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # a fault far from the first line is the row reader's to tell; a cut through the last character is none
        if b"\n" not in head[: error.start]:
            raise SourceError(f"text of '{shown}' must be UTF-8; got bytes that are not.", "Save the file as UTF-8.") from None
        text = head[: error.start].decode("utf-8-sig")
    return text
