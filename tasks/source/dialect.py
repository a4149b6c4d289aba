"""The dialect of a CSV file, and its cells rewritten the way all further reading expects them."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from tasks.contract.errors import SourceError

#: Blanks that stand between groups of three digits: plain, no-break and narrow no-break.
BLANKS = " \u00a0\u202f"


class Dialect(BaseModel):
    """How a CSV file is written.

    Attributes
    ----------
    separator, quote, encoding : str
        ``quote`` is empty where there is none.
    skipped : int
        Lines before the header.
    decimal, thousands : str
        Marks of numbers; ``thousands`` is empty where there is none.
    numbers : tuple of str
        Columns of numbers, where decimal mark or thousands differ from those of program code.
    dates : dict of str to str
        Columns of dates that are not ISO 8601, with their formats.
    padded : bool
        Whether cells stand behind a separator and a blank.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    separator: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    skipped: int = 0
    decimal: str = "."
    thousands: str = ""
    numbers: tuple[str, ...] = ()
    dates: dict[str, str] = {}
    padded: bool = False

    def line(self, shown: str) -> str:
        """Say in one line how the file is read; empty where it is plain CSV in UTF-8."""
        plain = Dialect()
        parts = []
        if self.separator != plain.separator:
            parts.append(f"separator {'tab' if self.separator == chr(9) else repr(self.separator)}")
        if self.quote != plain.quote:
            parts.append(f"quote {self.quote!r}" if self.quote else "no quotes")
        if self.decimal != plain.decimal:
            parts.append(f"decimal mark {self.decimal!r}")
        if self.thousands:
            parts.append(f"thousands {self.thousands!r}")
        if self.skipped:
            parts.append(f"the header on line {self.skipped + 1}")
        if self.encoding not in ("utf-8", "utf-8-sig"):
            parts.append(f"encoding {self.encoding}")
        if self.dates:
            parts.append("dates " + ", ".join(f"'{name}' as {form}" for name, form in self.dates.items()))
        return f"'{shown}' is read with {', '.join(parts)}; source.csv declares another dialect." if parts else ""


def number_pattern(decimal: str, thousands: str) -> str:
    """Return the regular expression of a number as a dialect writes it."""
    mark = re.escape(decimal)
    group = f"[{BLANKS}]" if thousands == " " else "['’]" if thousands == "'" else re.escape(thousands)
    whole = rf"(?:[0-9]{{1,3}}(?:{group}[0-9]{{3}})+|[0-9]+)" if thousands else "[0-9]+"
    return rf"^\s*[+-]?(?:{whole}(?:{mark}[0-9]*)?|{mark}[0-9]+)(?:[eE][+-]?[0-9]+)?\s*$"


def plain_numbers(cells: pa.Array, decimal: str, thousands: str, name: str) -> pa.Array:
    """Write numbers as program code does; cells that are no numbers of the dialect stay as they are.

    Parameters
    ----------
    cells : pyarrow string array
    decimal, thousands : str
    name : str
        The column, for messages.

    Raises
    ------
    SourceError
        If a cell has a decimal point where the dialect has commas: it would be read as another number.
    """
    fits = pc.match_substring_regex(cells, number_pattern(decimal, thousands))
    if decimal == ",":
        pointed = pc.and_(pc.match_substring_regex(cells, r"^\s*[+-]?[0-9]*\.[0-9]+\s*$"), pc.invert(fits))
        if (count := pc.sum(pointed).as_py() or 0) > 0:
            raise SourceError(
                f"numbers of column '{name}' must have the decimal mark ','; got {count} cells with a point.",
                'Declare the marks, e.g. source.csv = { decimal = ",", thousands = "." }.',
            )
    if thousands:
        group = f"[{BLANKS}]" if thousands == " " else "['’]" if thousands == "'" else re.escape(thousands)
        cells = pc.if_else(fits, pc.replace_substring_regex(cells, group, ""), cells)
    return pc.if_else(fits, pc.replace_substring(cells, decimal, "."), cells) if decimal != "." else cells


def iso_dates(cells: pa.Array, form: str) -> pa.Array:
    """Write dates as ISO 8601; cells that are no dates of the format stay as they are.

    Parameters
    ----------
    cells : pyarrow string array
    form : str
        Of ``strptime``; with an hour in it the result has a time.
    """
    distinct = cells.dictionary_encode()
    texts = distinct.dictionary
    read = parsed_dates(texts, form)
    wanted = "%Y-%m-%d %H:%M:%S" if has_time(form) else "%Y-%m-%d"
    written = pc.if_else(read.is_valid(), pc.strftime(read, format=wanted), texts)
    return pa.DictionaryArray.from_arrays(distinct.indices, written).cast(pa.string()) if len(texts) else cells


def has_time(form: str) -> bool:
    """Whether a format has an hour in it."""
    return any(code in form for code in ("%H", "%I", "%T", "%R"))


def parsed_dates(texts: pa.Array, form: str) -> pa.Array:
    """Parse dates; null where a text is none, or a day that no month has (31.02.)."""
    clean = pc.utf8_trim_whitespace(texts)
    read = pc.strptime(clean, format=form, unit="s", error_is_null=True)
    try:
        written = pc.strftime(read, format=form)
    except pa.ArrowInvalid:
        return read
    same = pc.equal(_bare(written), _bare(clean))
    return pc.if_else(same, read, pa.scalar(None, read.type))


def _bare(texts: pa.Array) -> pa.Array:
    """Fold case and leading zeros, which formats write and people leave out."""
    return pc.replace_substring_regex(pc.utf8_lower(texts), r"(^|[^0-9])0+([0-9])", r"\1\2")


def rewritten(batch: pa.Table, dialect: Dialect, raw: Mapping[str, str]) -> pa.Table:
    """Return a batch of text columns with numbers and dates as all further reading expects them.

    Parameters
    ----------
    batch : pyarrow.Table
        Text columns by the names in the file.
    dialect : Dialect
    raw : mapping of str to str
        Names in the file by those of the source.
    """
    arrays = []
    for name, stored in raw.items():
        column = batch.column(stored)
        pieces = []
        for cells in column.chunks:
            cells = pc.if_else(pc.match_substring_regex(cells, r"^\s*$"), pa.scalar(None, pa.string()), cells)
            if dialect.padded:
                cells = pc.utf8_trim_whitespace(cells)
            if name in dialect.dates:
                cells = iso_dates(cells, dialect.dates[name])
            elif name in dialect.numbers:
                cells = plain_numbers(cells, dialect.decimal, dialect.thousands, name)
            pieces.append(cells)
        arrays.append(pa.chunked_array(pieces, pa.string()))
    return pa.table(arrays, names=list(raw))
