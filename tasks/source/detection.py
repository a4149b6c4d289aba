"""A CSV file's dialect, found from its first rows; what they leave open is refused for the columns concerned, never guessed."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

import pyarrow.fs as pafs

from tasks.contract.spec import CsvSpec
from tasks.source.clues import NumberClues, date_format, number_clues
from tasks.source.dialect import Dialect, number_pattern
from tasks.source.encoding import detect_encoding
from tasks.source.formats import open_bytes
from tasks.source.locate import reading

HEAD_BYTES = 1 << 20
_SEPARATORS = (",", ";", "\t", "|")
_MOST_RECORDS = 5000
_FIRST_RECORDS = 200
_MOST_LINES = 20
_SHARE = 0.9


class Unclear(NamedTuple):
    """Why a column can't be read before something is declared: a message and its way out."""

    message: str
    hint: str


class Sample(NamedTuple):
    """The first records of a file: encoding, separator, quote, lines skipped, header and rows."""

    encoding: str
    separator: str
    quote: str
    skipped: int
    header: tuple[str, ...]
    rows: list[list[str]]


def head_text(fs: pafs.FileSystem, path: str, shown: str, encoding: str) -> tuple[str, bool]:
    """Return the first part of a file as text, and whether the file goes on."""
    with reading(shown), open_bytes(fs, path) as stream:
        head = stream.read(HEAD_BYTES)
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    return decoder.decode(head).removeprefix("\ufeff"), len(head) == HEAD_BYTES


def sample(fs: pafs.FileSystem, path: str, shown: str, wishes: CsvSpec) -> Sample:
    """Read the first records of a CSV file.

    Parameters
    ----------
    fs : pyarrow.fs.FileSystem
        Where the file lies.
    path, shown : str
        The file, and how messages name it.
    wishes : CsvSpec
        What is declared; the rest is detected.

    Raises
    ------
    SourceError
        If the encoding can't be determined.
    """
    encoding = wishes.encoding or detect_encoding(fs, path, shown)
    text, more = head_text(fs, path, shown, encoding)
    skipped, named = 0, None
    if (first := re.match(r"sep=(.)\r?\n", text)) is not None:  # what Excel writes for itself
        skipped, named, text = 1, first[1], text[first.end() :]
    quote = wishes.quote if wishes.quote is not None else _quote(text)
    choices = (wishes.separator or named or "",) if wishes.separator or named else _SEPARATORS
    before = preamble(text, quote, choices) if wishes.skip is None else max(0, wishes.skip - skipped)
    skipped, text = skipped + before, _without_lines(text, before)
    separator = wishes.separator or named or _separator(text, quote, path)
    records = _records(text, separator, quote)
    if more and len(records) > 1 and len(records) <= _MOST_RECORDS:
        records = records[:-1]  # cut in the middle
    records = [record for record in records if record]
    header = tuple(records[0]) if records else ()
    return Sample(encoding, separator, quote, skipped, header, records[1:])


def clean_names(header: Sequence[str]) -> tuple[str, ...]:
    """Return column names without blanks and byte order marks around them, as long as they stay distinct."""
    clean = tuple(name.strip(" \t\r\n\u00a0\ufeff") for name in header)
    return clean if len(set(clean)) == len(clean) else tuple(header)


def detect(samples: Sequence[Sample], names: tuple[str, ...], wishes: CsvSpec, codes: frozenset[str]) -> tuple[Dialect, dict[str, Unclear]]:
    """Find the dialect of a source's CSV files.

    Parameters
    ----------
    samples : sequence of Sample
        The first records of the first files.
    names : tuple of str
        Clean names of the columns.
    wishes : CsvSpec
        What is declared.
    codes : frozenset of str
        Cells that mean missing.

    Returns
    -------
    Dialect, dict of str to Unclear
        The dialect, and the columns that can't be read before something is declared.
    """
    first = samples[0]
    columns = {name: _cells(samples, place, len(names), codes) for place, name in enumerate(names)}
    dates, unclear = dict(wishes.dates), {}
    for name, cells in columns.items():
        if name not in dates:
            form = date_format(cells)
            if form == "ambiguous":
                unclear[name] = _ambiguous_dates(name, cells)
            elif form:
                dates[name] = form
    clues = {name: number_clues(cells) for name, cells in columns.items() if name not in dates and name not in unclear}
    clues = {name: clue for name, clue in clues.items() if clue.share >= _SHARE}
    decimal = wishes.decimal or _decimal(clues)
    unclear |= _unclear_numbers(clues, decimal, wishes, first.separator)
    thousands = wishes.thousands if wishes.thousands is not None else _thousands(clues, decimal)
    odd = decimal != "." or bool(thousands)
    fits = re.compile(number_pattern(decimal, thousands))
    numbers = tuple(name for name in clues if odd and name not in unclear and _fit(columns[name], fits))
    dialect = Dialect(
        separator=first.separator,
        quote=first.quote,
        encoding=first.encoding,
        skipped=first.skipped,
        decimal=decimal,
        thousands=thousands,
        numbers=numbers,
        dates=dates,
        padded=len(first.header) > 1 and all(name.startswith(" ") for name in first.header[1:]),
    )
    return dialect, unclear


def _cells(samples: Sequence[Sample], place: int, width: int, codes: frozenset[str]) -> list[str]:
    """Return a column's cells in the samples, missing ones left out."""
    cells = (row[place].strip() for one in samples for row in one.rows if len(row) == width)
    return [cell for cell in cells if cell and cell not in codes]


def _fit(cells: Sequence[str], pattern: re.Pattern[str]) -> bool:
    return sum(pattern.match(cell) is not None for cell in cells) >= _SHARE * len(cells)


def _decimal(clues: dict[str, NumberClues]) -> str:
    """Return the file's decimal mark: the one that more columns can have only as such."""
    comma = sum(clue.comma for clue in clues.values())
    point = sum(clue.point for clue in clues.values())
    return "," if comma > point else "."


def _thousands(clues: dict[str, NumberClues], decimal: str) -> str:
    groups = {mark for clue in clues.values() for mark in clue.groups if mark != decimal}
    return next((mark for mark in (".", ",", "'", " ") if mark in groups), "")


def _unclear_numbers(clues: dict[str, NumberClues], decimal: str, wishes: CsvSpec, separator: str) -> dict[str, Unclear]:
    """Return columns whose numbers can be read in two ways."""
    if wishes.decimal is not None:
        return {}
    certain = any(clue.comma or clue.point for clue in clues.values())
    mixed = {}
    for name, clue in clues.items():
        if clue.comma and clue.point:
            mixed[name] = Unclear(f"numbers of column '{name}' must have one decimal mark; got cells with '.' and cells with ','.", _MARKS)
        elif (clue.comma and decimal == ".") or (clue.point and decimal == ","):
            mark = "," if decimal == "." else "."
            text = f"decimal mark of column '{name}' must be that of other columns ('{decimal}'); got '{mark}'."
            mixed[name] = Unclear(text, _MARKS)
        elif not certain and ("," in clue.groups or ("." in clue.groups and separator != ",")):
            mark = "," if "," in clue.groups else "."
            text = f"'{mark}' in numbers of column '{name}' must be known as decimal mark or as thousands; got cells that fit both."
            mixed[name] = Unclear(text, _MARKS)
    return mixed


_MARKS = 'Declare the marks, e.g. source.csv = { decimal = ".", thousands = "," }.'


def _ambiguous_dates(name: str, cells: Sequence[str]) -> Unclear:
    mark = "-" if cells[0].count("-") == 2 else "/"
    if re.search(r"\d{4}", cells[0]):
        order, form = "day and month; got cells that fit both: none has a day above 12", mark.join(("%d", "%m", "%Y"))
    else:
        order, form = "day, month and year; got cells of two digits that fit several", mark.join(("%d", "%m", "%y"))
    return Unclear(
        f"dates of column '{name}' must be of a known order of {order}.",
        f'Declare the format, e.g. source.csv = {{ dates = {{ "{name}" = "{form}" }} }}.',
    )


def preamble(text: str, quote: str, separators: Sequence[str] = _SEPARATORS) -> int:
    """Return how many lines stand before the header: titles, comments and blank lines that programs write above a table.

    The header is the first of at most twenty lines whose number of cells nine of ten records from there on share, and which fills more
    than half of them. Lines above it fill at most half as many.
    """
    for lines in range(min(_MOST_LINES, text.count("\n"))):
        rest = _without_lines(text, lines)
        for separator in separators:
            records = _records(rest, separator, quote, _FIRST_RECORDS)
            width = len(records[0]) if records else 0
            if width < 3 or sum(len(record) == width for record in records if record) < _SHARE * sum(map(bool, records)):
                continue
            above = _records(text[: len(text) - len(rest)], separator, quote, _FIRST_RECORDS)
            if 2 * _filled(records[0]) > width and all(2 * _filled(record) <= width for record in above):
                return lines
    return 0


def _filled(record: Sequence[str]) -> int:
    return sum(bool(cell.strip()) for cell in record)


def _without_lines(text: str, lines: int) -> str:
    return text.split("\n", lines)[lines] if 0 < lines <= text.count("\n") else text


def _records(text: str, separator: str, quote: str, most: int = _MOST_RECORDS) -> list[list[str]]:
    records: list[list[str]] = []
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
    try:
        for record in csv.reader(io.StringIO(text, newline=""), delimiter=separator, quotechar=quote or None, quoting=quoting):
            records.append(record)
            if len(records) > most:
                break
    except csv.Error:
        pass  # what the row reader will say better
    return records


def _quote(text: str) -> str:
    """Return single quotes where cells stand in them and none in double quotes."""
    if '"' in text:
        return '"'
    single = len(re.findall(r"(?:^|[,;\t|])'[^'\n]*'(?=[,;\t|\r\n])", text, re.MULTILINE))
    return "'" if single > text.count("'") * 0.45 and single >= 3 else '"'


def _separator(text: str, quote: str, path: str) -> str:
    """Return the separator that cuts header and rows into the same number of cells, the more cells the better."""
    tabs = any(path.lower().removesuffix(packed).endswith((".tsv", ".tab")) for packed in ("", ".gz", ".bz2", ".xz", ".zst"))
    scores = []
    for place, separator in enumerate(_SEPARATORS):
        records = [record for record in _records(text, separator, quote, _FIRST_RECORDS) if record]
        width = len(records[0]) if records else 0
        same = sum(len(record) == width for record in records) / len(records) if records and width > 1 else 0.0
        scores.append((same >= _SHARE, tabs and separator == "\t", round(same, 1), width, -place, separator))
    best = max(scores)
    return best[-1] if best[0] or best[3] > 1 else ","
