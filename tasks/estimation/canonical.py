"""Canonical values of any pandas column."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.contract.errors import EstimationError, SpecError

#: Most levels of a text covariate.
MAX_LEVELS = 200
#: What pandas calls columns of objects in which equal values are values of one type.
_OF_ONE_TYPE = ("string", "boolean", "integer", "floating", "empty")


def canonical(column: pd.Series, owner: str = "covariate") -> pd.Series:
    """Return canonical values: float64 with NaN, or category of sorted strings with NaN; index 0..n-1."""
    column = column.reset_index(drop=True)
    if isinstance(column.dtype, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(column.dtype):
        return _categories(column, owner)
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        stamps = column.dt.tz_convert("UTC").dt.tz_localize(None) if column.dt.tz is not None else column
        return _microseconds(stamps, "M8[us]")
    if pd.api.types.is_timedelta64_dtype(column.dtype):
        return _microseconds(column, "m8[us]")
    if pd.api.types.is_complex_dtype(column.dtype):
        raise EstimationError(f"{owner} '{column.name}' of the frame must be of real numbers; got complex ones.")
    if pd.api.types.is_numeric_dtype(column.dtype):
        return _numbers(column, owner)
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind in ("integer", "floating", "mixed-integer-float", "decimal"):
        return _numbers(pd.to_numeric(column.astype(object).where(column.notna(), np.nan)), owner)
    if kind in ("datetime", "datetime64", "date"):
        return canonical(pd.to_datetime(column, utc=True), owner)
    return _categories(column, owner)


def _numbers(column: pd.Series, owner: str) -> pd.Series:
    values = column.to_numpy() if column.dtype == np.float64 else column.to_numpy(dtype=np.float64, na_value=np.nan)
    infinite = int(np.count_nonzero(np.isinf(values)))
    if infinite:
        raise EstimationError(f"{owner} '{column.name}' of the frame must be finite; got {infinite} infinite values.", "Set them missing.")
    # + 0.0 turns -0.0 into 0.0: one number, one key
    return pd.Series(values + 0.0, name=column.name)


def _microseconds(column: pd.Series, unit: str) -> pd.Series:
    raw = column.to_numpy(dtype=unit)
    return pd.Series(np.where(np.isnat(raw), np.nan, raw.astype(np.int64).astype(np.float64)), name=column.name)


def _categories(column: pd.Series, owner: str) -> pd.Series:
    if owner == "outcome":
        raise EstimationError(
            f"outcome '{column.name}' of the frame must be a number or a boolean; got text.", "Code it as 0 and 1, or as a number."
        )
    codes, levels = level_codes(column)
    if len(levels) > MAX_LEVELS:
        raise SpecError(
            f"levels of {owner} '{column.name}' must be at most {MAX_LEVELS}; got {len(levels)}.",
            "Leave it out, or group its levels first.",
        )
    return pd.Series(pd.Categorical.from_codes(codes, categories=pd.Index(levels, dtype=object)), name=column.name)


def level_codes(column: pd.Series) -> tuple[npt.NDArray[np.intp], list[str]]:
    """Return the label of each cell, as its position among the sorted labels.

    Labels are spelt once per distinct value, not once per row.

    Parameters
    ----------
    column : Series, shape (n,)

    Returns
    -------
    tuple of ndarray of intp, shape (n,), and list of str
        Positions, -1 where missing; the labels that occur, sorted.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes, values = column.cat.codes.to_numpy().astype(np.intp), pd.Series(column.cat.categories)
    elif column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) not in _OF_ONE_TYPE:
        # a hash table takes 1, 1.0 and True for one value; label_text does not
        texts = [None if missing else label_text(value) for value, missing in zip(column, column.isna())]
        codes, distinct = pd.factorize(pd.Series(texts, dtype=object))
        values = pd.Series(distinct)
    else:
        codes, distinct = pd.factorize(column)
        values = pd.Series(distinct)
    texts_of = np.asarray([label_text(value) for value in values], dtype=object)
    occurs = np.bincount(codes[codes >= 0], minlength=len(texts_of)) > 0
    levels = sorted(set(texts_of[occurs].tolist()))
    place = {text: position for position, text in enumerate(levels)}
    # the last entry is missing: codes mark it with -1
    positions = np.asarray([place.get(text, -1) for text in texts_of] + [-1], dtype=np.intp)
    return positions[codes], levels


def label_text(value: object) -> str:
    """Return the canonical text of a label: 1, 1.0 and "1" are one label; True is "true"."""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | float | np.integer | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)
