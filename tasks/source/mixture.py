"""Columns of several natures: nearly all numbers, sentinels among values, digits that a double can't hold."""

from __future__ import annotations

from datetime import date

import pyarrow as pa

from tasks.contract.disclosure import FEW, SMALLEST_CELL, tail
from tasks.contract.errors import SourceError
from tasks.source.findings import ColumnFindings
from tasks.source.missing import MISSING
from tasks.source.numbers import Numbers, exact_values
from tasks.source.sentinels import sentinels
from tasks.source.strange import (
    CLOCK,
    CODE,
    LEAST_SHARE,
    NUMBER,
    OTHER_DATE,
    OTHER_NUMBER,
    SIGNS,
    TEXT,
    declaration,
    described,
    main_class,
    repeated_codes,
)
from tasks.source.values import is_text

_SHARE_WARNED = 0.5
#: Cells that lie further from the fifth outermost, in ranges between those, are warned of.
FAR = 10
#: Distinct texts up to which numbers stored as text are codes of categories.
_CODES = 20
#: Distinct whole numbers from which all being dates is no chance, and the days between which they lie.
_DATES, _FIRST_DAY, _LAST_DAY = 20, 18_000_101, 21_001_231
_NOUNS = {"number": "numbers", "date": "dates", "true or false": "true or false"}


def refuse_mixed(role: str, name: str, arrow: pa.DataType, column: ColumnFindings) -> None:
    """Raise ``SourceError`` where 90 % of a text column's cells, but not all, read as one type.

    Parameters
    ----------
    role, name : str
        For messages.
    arrow : pyarrow.DataType
        The released type.
    column : ColumnFindings
        Over the rows used.
    """
    if not _is_plain_text(arrow):
        return
    main, share = main_class(column.classes)
    # quoted codes among numbers are of two minds: text by their quotes, missing by the company they keep
    least = (
        _SHARE_WARNED
        if column.strange and set(column.strange) <= {*MISSING} and set(column.classes) <= {main, TEXT, SIGNS}
        else LEAST_SHARE
    )
    if not main or not least <= share < 1.0:
        return
    good = column.classes[main]
    raise SourceError(
        f"cells of {role} '{name}' must all read as {_NOUNS[main]}; got {good:,} of {column.present:,} that do ({share:.1%}), and "
        f"{described(column.classes, main, column.strange)}.",
        _way_out(name, role, column),
    )


def mixed_warning(name: str, arrow: pa.DataType, column: ColumnFindings) -> tuple[str, ...]:
    """Warn of a text column of which most cells, or all of more than ``_CODES`` distinct ones, read as one type."""
    if not _is_plain_text(arrow):
        return ()
    main, share = main_class(column.classes)
    if not main or share < _SHARE_WARNED:
        return _ordered_texts(name, column)
    if share == 1.0 and column.levels is not None and len(column.levels) <= _CODES:
        return ()  # a file with types that stores 0 and 1 as text means categories
    return (f"covariate '{name}' is taken as text: {share:.1%} of its cells read as {_NOUNS[main]}.",)


def written_otherwise(column: ColumnFindings) -> str:
    """Return what most cells of a text column are numbers or times with: ``"numbers with signs or units"``; empty where they are none."""
    if column.classes.get(CODE) or not column.present:
        return ""
    for kinds, noun in (((NUMBER, OTHER_NUMBER), "numbers with signs, units or marks of their own"), ((CLOCK,), "times or durations")):
        if sum(column.classes.get(kind, 0) for kind in kinds) >= LEAST_SHARE * column.present:
            return noun
    return ""


def _ordered_texts(name: str, column: ColumnFindings) -> tuple[str, ...]:
    """Warn of a text column whose many distinct cells have an order that levels lose."""
    noun = written_otherwise(column)
    if not noun or (column.levels is not None and len(column.levels) <= _CODES):
        return ()
    return (f"covariate '{name}' is taken as text, without its order: its cells are {noun}; plain numbers keep it.",)


def packed_dates(name: str, numbers: Numbers) -> tuple[str, ...]:
    """Warn of whole numbers that all read as dates: 20210331."""
    values = exact_values(numbers)
    if values is None or len(values) < _DATES or not _FIRST_DAY <= min(values) <= max(values) <= _LAST_DAY:
        return ()
    if not all(_is_day(int(value)) for value in values):
        return ()
    return (
        f"covariate '{name}' is taken as whole numbers, and all of them read as dates such as YYYYMMDD; "
        f'source.csv = {{ dates = {{ "{name}" = "%Y%m%d" }} }} reads them so, in Parquet a cast does.',
    )


def _is_day(packed: int) -> bool:
    try:
        date(packed // 10_000, packed // 100 % 100, packed % 100)
    except ValueError:
        return False
    return True


def refuse_inexact(role: str, name: str, column: ColumnFindings) -> None:
    """Raise ``SourceError`` where decimal cells have more digits than a double holds."""
    if column.inexact:
        raise SourceError(
            f"numbers of {role} '{name}' must have digits that make at most 2**53; got {column.inexact:,} cells with more.",
            f"Round the column, or add '{name}' to roles.exclude.",
        )


def sentinel_warnings(name: str, numbers: Numbers, arrow: pa.DataType) -> list[str]:
    """Warn of repeated extremes that look like codes for missing values."""
    total = numbers.finite + numbers.infinite
    lines = []
    for code in sentinels(numbers, arrow):
        value = f'"{code.text}"' if pa.types.is_temporal(arrow) else code.text
        lines.append(
            f"{code.rows / total:.1%} of column '{name}' ({code.rows:,} rows) are {code.text}, which looks like a code for missing; "
            f'source.missing_values = {{ "{name}" = [{value}] }} makes it missing.'
        )
    return lines


def outlier_warnings(name: str, numbers: Numbers) -> list[str]:
    """Warn of single cells far from all others: models lean on them, and no release has them."""
    if len(numbers.lowest) < SMALLEST_CELL:
        return []
    low, high = tail(numbers.lowest, numbers.lowest_counts), tail(numbers.highest[::-1], numbers.highest_counts[::-1])
    reach = FAR * (high.fifth - low.fifth)
    if reach <= 0.0 or max(low.fifth - numbers.lowest[0], numbers.highest[-1] - high.fifth) <= reach:
        return []
    return [
        f"{FEW} rows of column '{name}' lie more than {FAR} times the range of all others away from them, and models lean on such cells; "
        f'correct them if they are errors; source.missing_values = {{ "{name}" = [VALUE] }} makes them missing.'
    ]


def _is_plain_text(arrow: pa.DataType) -> bool:
    return is_text(arrow) and not pa.types.is_dictionary(arrow)


def _way_out(name: str, role: str, column: ColumnFindings) -> str:
    hints = []
    if column.classes.get(OTHER_NUMBER):
        hints.append('Another notation of numbers: source.csv = { decimal = ",", thousands = "." }.')
    if column.classes.get(OTHER_DATE):
        hints.append(f'Another format of dates: source.csv = {{ dates = {{ "{name}" = "%d.%m.%Y" }} }}.')
    hints.append(f"Codes that mean missing: {declaration(name, repeated_codes(column.strange)[:5])}.")
    if role == "covariate":
        hints.append(f'If it is text: roles.kinds.{name} = "categorical".')
    return " ".join(hints)
