"""Cells of a pandas frame: which kind a column is of, and its values as numbers or codes."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.contract.errors import SourceError

CellKind = Literal["numeric", "categorical"]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]

_NUMBERS = frozenset({"integer", "floating", "mixed-integer-float", "decimal"})
_INSTANTS = frozenset({"datetime64", "datetime", "date"})


def kind_of(values: pd.Series) -> CellKind | None:
    """Return whether a column is compared by difference or by equality.

    Parameters
    ----------
    values : pandas.Series
        Float, integer, boolean, category, text, object or datetime cells.

    Returns
    -------
    str or None
        ``"numeric"`` (numbers, instants, durations), ``"categorical"`` (all others), or None where no cell is known
        and the type tells nothing.
    """
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(dtype):
        return "categorical"
    if bool(values.isna().all()):
        return None
    if isinstance(dtype, np.dtype) and dtype.kind == "O":
        inferred = pd.api.types.infer_dtype(values, skipna=True)
        return "numeric" if inferred in _NUMBERS or inferred in _INSTANTS or inferred.startswith("timedelta") else "categorical"
    if pd.api.types.is_complex_dtype(dtype):
        raise SourceError(f"{values.name} of frame must be real; got complex numbers.", "Split it into two columns.")
    moments = pd.api.types.is_datetime64_any_dtype(dtype) or pd.api.types.is_timedelta64_dtype(dtype)
    return "numeric" if moments or pd.api.types.is_numeric_dtype(dtype) else "categorical"


def as_numbers(values: pd.Series, owner: str) -> Float64:
    """Return a numeric column as float64, NaN where missing; instants and durations in microseconds.

    Parameters
    ----------
    values : pandas.Series, shape (n,)
        A column of kind ``"numeric"``, or one without a known cell.
    owner : str
        Which frame, for the error.

    Returns
    -------
    ndarray of float64, shape (n,)

    Raises
    ------
    SourceError
        If a cell is infinite.
    """
    missing = values.isna().to_numpy(dtype=bool)
    if missing.all():
        return np.full(len(values), np.nan)
    inferred = pd.api.types.infer_dtype(values, skipna=True) if values.dtype == object else ""
    if pd.api.types.is_datetime64_any_dtype(values.dtype) or inferred in _INSTANTS:
        instants = pd.to_datetime(values, utc=True).dt.tz_localize(None)
        numbers = instants.to_numpy(dtype="datetime64[us]").astype(np.int64).astype(np.float64)
    elif pd.api.types.is_timedelta64_dtype(values.dtype) or inferred.startswith("timedelta"):
        numbers = pd.to_timedelta(values).to_numpy(dtype="timedelta64[us]").astype(np.int64).astype(np.float64)
    else:
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan).copy()
    numbers[missing] = np.nan
    infinite = int(np.isinf(numbers).sum())
    if infinite:
        raise SourceError(
            f"{values.name} of {owner} must be finite or missing; got {infinite} infinite cells.", "Set them to missing or bound them."
        )
    # -0.0 and 0.0 are one number, and must be one bit pattern where rows are hashed
    return np.asarray(numbers + 0.0, dtype=np.float64)


def as_codes(columns: Iterable[pd.Series]) -> tuple[list[Int32], int]:
    """Code several columns by one shared dictionary: equal codes exactly where cells are equal.

    Parameters
    ----------
    columns : iterable of pandas.Series
        The same column of several frames.

    Returns
    -------
    codes : list of ndarray of int32
        One array a column, each of its column's shape; 0 is missing, levels count from 1.
    size : int
        Number of codes, missing included.
    """
    dictionary: dict[Hashable, int] = {}
    coded: list[Int32] = []
    for values in columns:
        if isinstance(values.dtype, pd.CategoricalDtype):
            local, levels = values.cat.codes.to_numpy(), list(values.cat.categories)
        else:
            local, uniques = pd.factorize(values, use_na_sentinel=True)
            levels = list(uniques)
        shared = np.zeros(len(levels) + 1, dtype=np.int32)  # the last slot is what -1, missing, points at
        for position, level in enumerate(levels):
            shared[position] = dictionary.setdefault(_key(level), len(dictionary) + 1)
        coded.append(shared[local])
    return coded, len(dictionary) + 1


def _key(level: object) -> Hashable:
    """Keep True apart from 1: Python's dictionaries don't."""
    plain = level.item() if isinstance(level, np.generic) else level
    return ("boolean", plain) if isinstance(plain, bool) else plain
