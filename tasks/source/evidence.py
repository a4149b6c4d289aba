"""What a text column could be: the readings that hold for every one of its cells."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

# from the narrowest to the widest; text is what is left when none holds
READINGS: dict[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "float": pa.float64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "instant": pa.timestamp("us", "UTC"),
}
ALL = frozenset(READINGS)
_FOLLOWING = {"integer": "float", "date": "timestamp"}


def readings_of(texts: pa.Array) -> frozenset[str]:
    """Return the readings that hold for all of some distinct texts.

    Parameters
    ----------
    texts : pyarrow string array
        Distinct cells without null.

    Returns
    -------
    frozenset of str
        Keys of ``READINGS``. ``true``/``false`` in any case are boolean (``0``/``1`` are integers); a number with a
        leading zero ("007") is a code and stays text; dates and times are ISO 8601, an instant carries its offset.
    """
    if not len(texts):
        return ALL
    trimmed = pc.utf8_trim_whitespace(texts)
    if pc.all(pc.is_in(pc.utf8_lower(trimmed), pa.array(["true", "false"]))).as_py():
        return frozenset({"boolean"})
    for reading in ("integer", "float"):
        if _reads(trimmed, READINGS[reading]):
            return frozenset() if _has_codes(trimmed) else frozenset({reading, "float"})
    readings = set()
    for reading in ("date", "timestamp", "instant"):
        if reading in readings or _reads(trimmed, READINGS[reading]):
            readings |= {reading, _FOLLOWING.get(reading, reading)}
    return frozenset(readings)


def type_of(readings: Iterable[str]) -> pa.DataType:
    """Return the Arrow type of the narrowest reading, string where there is none."""
    held = set(readings)
    return next((kind for reading, kind in READINGS.items() if reading in held), pa.string())


def _reads(texts: pa.Array, kind: pa.DataType) -> bool:
    try:
        read = texts.cast(kind)
    except pa.ArrowInvalid:
        return False
    # "-nan" and the like parse as floats but are no numbers
    return not (pa.types.is_floating(kind) and pc.any(pc.is_nan(read)).as_py())


def _has_codes(texts: pa.Array) -> bool:
    starts = pc.or_(pc.starts_with(texts, "0"), pc.or_(pc.starts_with(texts, "-0"), pc.starts_with(texts, "+0")))
    return bool(pc.any(pc.match_substring_regex(texts.filter(starts), r"^[+-]?0[0-9]")).as_py())
