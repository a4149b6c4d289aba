"""Decimals of any width: how many cells a double can't hold exactly."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

_WHOLE = 2**53


def inexact(values: pa.Array) -> int:
    """Count cells whose digits, trailing zeros left out, make a number beyond 2**53.

    A decimal up to there comes back from the nearest double by rounding to its digits; a longer one does not.

    Parameters
    ----------
    values : pyarrow decimal array, shape (n,)
        Of 32, 64, 128 or 256 bits.

    Returns
    -------
    int
    """
    present = values.drop_null()
    wide = (
        present
        if pa.types.is_decimal256(present.type)
        else present.cast(pa.decimal128(max(present.type.precision, 19), present.type.scale))
    )
    if not len(wide):
        return 0
    words = wide.type.byte_width // 8
    cells = np.frombuffer(wide.buffers()[1], dtype=np.int64).reshape(-1, words)[wide.offset : wide.offset + len(wide)]
    low = cells[:, 0]
    # the upper words of what fits 64 bits repeat its sign
    fits = (cells[:, 1:] == (low >> 63)[:, None]).all(axis=1)
    count = _beyond(low[fits])
    return count + sum(_digits(cell) > _WHOLE for cell in cells[~fits])


def _beyond(unscaled: np.ndarray[tuple[int], np.dtype[np.int64]]) -> int:
    left = unscaled[np.abs(unscaled.astype(np.float64)) > _WHOLE]
    while (whole := left % 10 == 0).any():
        left = np.concatenate((left[whole] // 10, left[~whole]))
        left = left[np.abs(left.astype(np.float64)) > _WHOLE]
    return len(left)


def _digits(cell: np.ndarray[tuple[int], np.dtype[np.int64]]) -> int:
    """Return the absolute value of a wide cell, trailing zeros left out."""
    value = abs(int.from_bytes(cell.tobytes(), "little", signed=True))
    while value and value % 10 == 0:
        value //= 10
    return value
