"""Cells of the source as numbers or as level texts, whatever Arrow type or CSV text they come in."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Float64 = npt.NDArray[np.float64]
Family = Literal["boolean", "integer", "float", "text", "datetime"]
SUPPORTED = "boolean, integer, float, decimal, string, dictionary, date or timestamp"


def family(kind: pa.DataType) -> Family | None:
    """Return how values of an Arrow type are seen, None for types that are not supported."""
    tests = pa.types
    if tests.is_boolean(kind):
        return "boolean"
    if tests.is_integer(kind):
        return "integer"
    if tests.is_floating(kind) or tests.is_decimal(kind):
        return "float"
    if _is_text(kind):
        return "text"
    if tests.is_dictionary(kind):
        inner = kind.value_type
        return "text" if _is_text(inner) or tests.is_integer(inner) or tests.is_floating(inner) or tests.is_boolean(inner) else None
    if tests.is_date(kind) or tests.is_timestamp(kind):
        return "datetime"
    return None


def is_missing(values: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Tell null and NaN cells, shape (n,)."""
    plain = plain_values(values)
    return np.asarray(pc.is_null(plain, nan_is_null=pa.types.is_floating(plain.type)).to_numpy(zero_copy_only=False), dtype=np.bool_)


def plain_values(values: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, dictionaries decoded."""
    whole = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if isinstance(whole, pa.ChunkedArray):  # more than an array can hold in one piece
        whole = pa.concat_arrays(whole.chunks)
    if pa.types.is_dictionary(whole.type):
        whole = whole.cast(whole.type.value_type)
    return whole.cast(pa.string()) if pa.types.is_string_view(whole.type) else whole  # kernels for views are few


def as_floats(values: pa.ChunkedArray, kind: pa.DataType) -> Float64:
    """Read a column as canonical numbers.

    Parameters
    ----------
    values : pyarrow.ChunkedArray, shape (n,)
        Of type ``kind``, or CSV text that reads as ``kind``.
    kind : pyarrow.DataType
        A boolean, integer, floating, decimal, date or timestamp type.

    Returns
    -------
    ndarray of float64, shape (n,)
        Missing cells are NaN; booleans 0 and 1; dates and timestamps microseconds since 1970 UTC; -0.0 is 0.0.

    Raises
    ------
    pyarrow.ArrowInvalid
        If text does not read as ``kind``, or a date is outside what microseconds can hold.
    """
    whole = plain_values(values)
    if _is_text(whole.type):
        whole = _parsed(whole, kind)
    if pa.types.is_temporal(whole.type):
        whole = _microseconds(whole)
    floats = np.asarray(whole.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
    return np.asarray(floats + 0.0, dtype=np.float64)


def as_levels(values: pa.ChunkedArray, kind: pa.DataType) -> pa.DictionaryArray:
    """Read a column as level texts.

    Parameters
    ----------
    values : pyarrow.ChunkedArray, shape (n,)
        Of type ``kind``, or CSV text that reads as ``kind``.
    kind : pyarrow.DataType
        A boolean, integer, floating, text, dictionary or date type.

    Returns
    -------
    pyarrow.DictionaryArray of (int32, string), shape (n,)
        Null where missing; texts are those of :func:`level_text`.

    Raises
    ------
    pyarrow.ArrowInvalid
        If text does not read as ``kind``.
    """
    whole = plain_values(values)
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_boolean(inner):
        flags = whole if pa.types.is_boolean(whole.type) else pc.equal(pc.utf8_lower(pc.utf8_trim_whitespace(whole)), "true")
        codes = flags.cast(pa.int32())
        return pa.DictionaryArray.from_arrays(codes, pa.array(["false", "true"]))
    if _is_text(inner):
        return whole.cast(pa.string()).dictionary_encode()
    numbers = as_floats(whole, inner)
    present = ~np.isnan(numbers)
    unique, inverse = np.unique(numbers[present], return_inverse=True)
    codes_ = np.zeros(len(numbers), dtype=np.int32)
    codes_[present] = inverse
    texts = pa.array([level_text(float(value), inner) for value in unique], type=pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(codes_, mask=~present), texts)


def as_names(values: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    """Read a column of ids or clusters as texts: whole numbers in their shortest form, texts as they are; null where missing.

    Parameters
    ----------
    values : pyarrow.ChunkedArray, shape (n,)
        Of type ``kind``, or CSV text that reads as ``kind``.
    kind : pyarrow.DataType
        Of whole numbers, texts or dictionaries of either.

    Returns
    -------
    pyarrow.StringArray, shape (n,)
    """
    whole = plain_values(values)
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    if _is_text(inner):
        return whole.cast(pa.string())
    if _is_text(whole.type):
        whole = pc.utf8_trim_whitespace(whole)
        try:
            whole = whole.cast(pa.int64())
        except pa.ArrowInvalid:  # digits in groups, or behind a plus sign
            whole = pa.array(_parsed(whole, inner).cast(pa.float64()), from_pandas=True).cast(pa.int64())
    return whole.cast(pa.string())


def level_text(value: float, kind: pa.DataType) -> str:
    """Write a canonical number as a level: shortest decimal text, no ``.0`` behind whole numbers, ISO for dates."""
    if pa.types.is_date(kind):
        return str(np.datetime64(int(value), "us").astype("datetime64[D]"))
    if value == np.floor(value) and abs(value) < 1e15:
        return str(int(value))
    if pa.types.is_float32(kind) or pa.types.is_float16(kind):
        return str(kind.to_pandas_dtype()(value))
    return repr(value)


def level_number(text: str, kind: pa.DataType) -> float:
    """Read a level's text back as a number, for telling which of two levels is nearer; inverse of :func:`level_text`."""
    if pa.types.is_date(kind):
        return float(np.datetime64(text, "us").astype(np.int64))
    return float(text)


def is_text(kind: pa.DataType) -> bool:
    """Whether a column's values, or a dictionary's, are text."""
    return _is_text(kind.value_type if pa.types.is_dictionary(kind) else kind)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _parsed(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    """Parse CSV text; integers as float64, which holds all that are accepted."""
    if pa.types.is_boolean(kind):
        return pc.equal(pc.utf8_lower(pc.utf8_trim_whitespace(texts)), "true")
    to = pa.float64() if pa.types.is_integer(kind) else kind
    try:
        return texts.cast(to)
    except pa.ArrowInvalid:
        return pc.utf8_trim_whitespace(texts).cast(to)


def _microseconds(values: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(values.type) and values.type.unit == "ns":
        nanoseconds = values.cast(pa.int64())
        present = nanoseconds.is_valid().to_numpy(zero_copy_only=False)
        # floor, not truncation towards zero: an instant before 1970 keeps its order
        floored = np.floor_divide(nanoseconds.fill_null(0).to_numpy(), 1000)
        return pa.array(floored, mask=~present)
    zone = values.type.tz if pa.types.is_timestamp(values.type) else None
    return values.cast(pa.timestamp("us", zone)).cast(pa.int64())
