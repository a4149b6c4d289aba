"""What the cells of a text column are, one by one: a column that is nearly all numbers is never taken as text in silence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.contract.disclosure import few
from tasks.source.levels import Levels, merge_levels

Classes = Mapping[str, int]
NUMBER, CODE, DATE, BOOLEAN = "number", "number with a leading zero", "date", "true or false"
BLANK, SIGNS, OTHER_NUMBER, OTHER_DATE, TEXT = "blank", "signs only", "number of another notation", "date of another format", "text"
CLOCK = "time or duration"
#: Classes in the order of their tests, with a regular expression of the trimmed cell.
_TESTS = (
    (BLANK, r"^$"),
    (BOOLEAN, r"(?i)^(true|false)$"),
    (CODE, r"^[+-]?0[0-9]+(\.[0-9]*)?$"),
    (NUMBER, r"(?i)^[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|inf|infinity)$"),
    (DATE, r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([ T].*)?$"),
    (OTHER_DATE, r"^[0-9]{1,4}([./-])[0-9]{1,2}[./-][0-9]{1,4}([ T].*)?$"),
    (OTHER_NUMBER, r"^[<>~≤≥]?\s*[€$£]?\s*[+\-−]?\s*[€$£]?[0-9][0-9.,'’\s\x{00A0}]*\s*[%‰€$£]?$"),
    (CLOCK, r"^[+-]?([0-9]+ days?,? )?[0-9]{1,3}(:[0-9]{2}){1,2}(\.[0-9]+)?$"),
    (SIGNS, r"^[^\pL\pN]+$"),
)
#: Longest code that is named in a message, and the rows it needs: no person's value.
LONGEST_CODE, FEWEST_ROWS = 12, 5
MOST_STRANGE = 64
LEAST_SHARE = 0.9


def classify(counted: pa.StructArray, readings: frozenset[str]) -> tuple[dict[str, int], Levels]:
    """Count a text column's rows by what their cells are.

    Parameters
    ----------
    counted : pyarrow struct array of (values, counts)
        Distinct cells with their rows.
    readings : frozenset of str
        Readings that hold for all of them (:func:`tasks.source.evidence.readings_of`): these need no test.

    Returns
    -------
    dict of str to int, dict of str to int or None
        Rows by class; distinct cells that are neither number nor date with their rows, None where more than ``MOST_STRANGE``.
    """
    texts, counts = counted.field("values").cast(pa.string()), counted.field("counts").to_numpy().astype(np.int64)
    if not len(texts):
        return {}, {}
    if len(readings) < 6 and "float" in readings:
        return {NUMBER: int(counts.sum())}, {}
    if len(readings) < 6 and readings & {"date", "timestamp", "instant"}:
        return {DATE: int(counts.sum())}, {}
    trimmed = pc.utf8_trim_whitespace(texts)
    left = np.ones(len(texts), dtype=np.bool_)
    classes: dict[str, int] = {}
    odd = np.zeros(len(texts), dtype=np.bool_)
    for name, pattern in _TESTS:
        hit = left & pc.match_substring_regex(trimmed, pattern).to_numpy(zero_copy_only=False)
        if hit.any():
            classes[name] = int(counts[hit].sum())
            odd |= hit & (name in (BLANK, BOOLEAN, SIGNS))
            left &= ~hit
    if left.any():
        classes[TEXT] = int(counts[left].sum())
    odd |= left
    classes = dict(sorted(classes.items()))
    strange = np.flatnonzero(odd)
    if len(strange) > MOST_STRANGE:
        return classes, None
    return classes, dict(sorted((texts[int(place)].as_py(), int(counts[place])) for place in strange))


def merge_classes(left: Classes, right: Classes) -> dict[str, int]:
    """Return the sums, in the order of names."""
    return {name: left.get(name, 0) + right.get(name, 0) for name in sorted({*left, *right})}


def merge_strange(left: Levels, right: Levels) -> Levels:
    """Return the union, None for more than ``MOST_STRANGE``."""
    return merge_levels(left, right, MOST_STRANGE)


def main_class(classes: Classes) -> tuple[str, float]:
    """Return what most cells are, number, date or truth value, with their share; an empty name where leading zeros make codes of them."""
    total = sum(classes.values())
    if not total or classes.get(CODE):
        return "", 0.0
    name = max((NUMBER, DATE, BOOLEAN), key=lambda one: classes.get(one, 0))
    return name, classes.get(name, 0) / total


def described(classes: Classes, main: str, strange: Levels) -> str:
    """Describe the cells that are not of the main class: counts by class, and codes without a known meaning."""
    rest = {name: rows for name, rows in classes.items() if name != main}
    parts = [f"{few(rows)} {name}" for name, rows in sorted(rest.items(), key=lambda one: (-one[1], one[0]))]
    codes = repeated_codes(strange)
    named = f" (repeated: {', '.join(repr(code) for code in codes[:5])})" if codes else ""
    return ", ".join(parts) + named


def repeated_codes(strange: Levels) -> list[str]:
    """Return short cells that at least five rows share, most frequent first."""
    shown = [(text, rows) for text, rows in (strange or {}).items() if rows >= FEWEST_ROWS and len(text.strip()) <= LONGEST_CODE]
    return [text for text, _ in sorted(shown, key=lambda one: (-one[1], one[0]))]


def declaration(name: str, codes: Iterable[str]) -> str:
    """Return the key that declares codes of a column as missing."""
    listed = ", ".join(f'"{code.strip()}"' for code in codes) or '"CODE", ...'
    return f'source.missing_values = {{ "{name}" = [{listed}] }}'
