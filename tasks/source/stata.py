"""Stata files as Arrow tables: how the built-in sources are packaged."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa


def read_table(path: Path, floats: Collection[str]) -> pa.Table:
    """Read a Stata file.

    Parameters
    ----------
    path : Path
        A ``.dta`` file.
    floats : collection of str
        Columns that stay float64 even where all their values are whole.

    Returns
    -------
    pyarrow.Table
        Label columns as strings, whole-valued columns as nullable int64, all others as float64.
    """
    frame = pd.read_stata(path)
    return pa.table({str(column): _column(frame[column], str(column) in floats) for column in frame.columns})


def _column(values: pd.Series, stays_float: bool) -> pa.Array:
    if not pd.api.types.is_numeric_dtype(values.dtype):
        texts = values.astype(object)
        return pa.array([None if pd.isna(text) else str(text) for text in texts], type=pa.string())
    floats = values.to_numpy(dtype=np.float64)
    present = floats[~np.isnan(floats)]
    whole = not stays_float and bool((present == np.floor(present)).all())
    return pa.array(floats, mask=np.isnan(floats)).cast(pa.int64() if whole else pa.float64())
