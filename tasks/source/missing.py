"""Which cells mean missing: text codes of CSV files, and values that a SPEC declares for a column."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from tasks.contract.spec import ReadingSpec
from tasks.source.values import is_text, plain_values

#: Unquoted CSV cells that mean missing where ``source.missing`` says nothing: what R, pandas, SAS, SQL and spreadsheets write.
MISSING = (
    "",
    "NA",
    "N/A",
    "n/a",
    "na",
    "<NA>",
    "#N/A",
    "#N/A N/A",
    "#NA",
    "NaN",
    "nan",
    "-NaN",
    "-nan",
    "NaT",
    "null",
    "NULL",
    "Null",
    "None",
    "\\N",
    ".",
    "1.#IND",
    "-1.#IND",
    "1.#QNAN",
    "-1.#QNAN",
)


def missing_codes(reading: ReadingSpec) -> frozenset[str]:
    """Return the unquoted CSV cells that mean missing; an empty cell always does."""
    return frozenset(MISSING if reading.missing is None else ("", *(code.strip() for code in reading.missing)))


def without_values(table: pa.Table, reading: ReadingSpec, text: bool) -> pa.Table:
    """Return a batch in which declared values are null.

    Parameters
    ----------
    table : pyarrow.Table
        A batch of the source.
    reading : ReadingSpec
        ``missing_values`` for its columns; ``missing``, where it is declared, for text columns of typed files.
    text : bool
        Whether the batch is CSV text, whose codes the row reader knows already.
    """
    for place, name in enumerate(table.column_names):
        values = reading.missing_values.get(name, ())
        column = table.column(place)
        codes = () if text or reading.missing is None or not is_text(column.type) else tuple(missing_codes(reading))
        if not values and not codes:
            continue
        hit = _hits(column, values, codes)
        if hit is not None and pc.any(hit).as_py():
            kept = pc.if_else(hit, pa.scalar(None, _plain(column.type)), plain_values(column))
            if pa.types.is_dictionary(column.type):
                kept = kept.dictionary_encode().cast(column.type)
            table = table.set_column(place, table.field(place).with_nullable(True), pa.chunked_array([kept]))
    return table


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _hits(column: pa.ChunkedArray, values: Sequence[str | int | float], codes: Sequence[str]) -> pa.Array | None:
    """Return which cells are declared missing; None where none of the values can stand in such a column."""
    cells = plain_values(column)
    kind = cells.type
    if is_text(kind):
        texts = pc.utf8_trim_whitespace(cells.cast(pa.string()))
        hit = pc.is_in(texts, pa.array([*codes, *(value.strip() for value in values if isinstance(value, str))], pa.string()))
        for value in values:
            if (number := _number(value)) is not None:
                hit = pc.or_(hit, pc.fill_null(pc.match_substring_regex(texts, _written(number)), False))
        return hit
    if pa.types.is_temporal(kind):
        return pc.is_in(cells, _instants(values, kind))
    if pa.types.is_boolean(kind):
        return None
    numbers = [number for value in values if (number := _number(value)) is not None]
    return pc.is_in(cells.cast(pa.float64(), safe=False), pa.array(numbers, pa.float64()))


def _instants(values: Sequence[str | int | float], kind: pa.DataType) -> pa.Array:
    instants = []
    for value in values:
        try:
            instants.append(pa.array([str(value)]).cast(kind)[0])
        except pa.ArrowInvalid:
            continue
    return pa.array(instants, kind)


def _number(value: str | int | float) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _written(number: float) -> str:
    """Return the regular expression of all ways to write a number without an exponent."""
    text = format(Decimal(repr(number)).normalize(), "f")
    sign, digits = ("-", text[1:]) if text.startswith("-") else (r"\+?", text)
    whole, _, behind = digits.partition(".")
    rest = rf"\.{behind}0*" if behind else r"(\.0*)?"
    return rf"^{sign}0*{re.escape(whole)}{rest}$"
