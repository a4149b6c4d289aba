"""Whether a column of numbers ends in a value that many rows share: a bound, such as the day on which a study was closed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: Fewest rows, and smallest share of rows, that make a value an atom.
ATOM_ROWS, ATOM_SHARE = 5, 0.01


def is_end(counts: npt.NDArray[np.int64], rows: int, times: float = 2.0) -> bool:
    """Return whether the first value is a bound: many rows share it, and several times as many as its neighbour.

    Parameters
    ----------
    counts : ndarray of int64, shape (m,), m at least 2
        Rows of the distinct values, from the end inwards.
    rows : int
        Of all values.
    times : float
        Rows of the end over those of its neighbour.
    """
    return bool(counts[0] >= max(ATOM_ROWS, ATOM_SHARE * rows) and counts[0] > times * counts[1])
