"""Canonical values of any pandas column."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tasks.contract.errors import EstimationError, SpecError

#: Most levels of a text covariate.
MAX_LEVELS = 200


def canonical(column: pd.Series, owner: str = "covariate") -> pd.Series:
    """Return canonical values: float64 with NaN, or category of sorted strings with NaN; index 0..n-1."""
    column = column.reset_index(drop=True)
    if isinstance(column.dtype, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(column.dtype):
        return _categories(column.astype(object), owner)
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
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
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
    texts = pd.Series([None if missing else label_text(value) for value, missing in zip(column, column.isna())], dtype=object)
    found = sorted(set(texts.dropna()))
    if len(found) > MAX_LEVELS:
        raise SpecError(
            f"levels of {owner} '{column.name}' must be at most {MAX_LEVELS}; got {len(found)}.", "Leave it out, or group its levels first."
        )
    return pd.Series(pd.Categorical(texts, categories=pd.Index(found, dtype=object)), name=column.name)


def label_text(value: object) -> str:
    """Return the canonical text of a label: 1, 1.0 and "1" are one label; True is "true"."""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | float | np.integer | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)
