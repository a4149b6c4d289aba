"""Rounded copies of rows, cheap to compare, with a bound on what rounding can have changed.

A shadow z of a numeric row is (x - centre) / width, clipped and rounded. Every coordinate is off by at most u |z| (u the unit
roundoff of its type), clipping brings points only closer, and subtracting two shadows rounds once more; so the distance between
shadows exceeds the true one by at most 2u (||z|| + ||z'||), norms taken in the metric. A search that keeps every row
whose shadow distance is within that bound of the best true distance loses none.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.distance.cells import Float64
from tasks.distance.records import Records
from tasks.distance.scale import Metric

Float32 = npt.NDArray[np.float32]

REACH = 1e15  # shadows are clipped here: squares of differences stay finite in float32


class Shadow(NamedTuple):
    """Rounded numeric rows.

    Attributes
    ----------
    z : ndarray of float32 or float64, shape (n, p)
        In units of the scale, NaN where missing; columns in the given order.
    slack : ndarray of float64, shape (n,)
        This row's share of the rounding bound: a distance between two shadows is at most the true one plus both slacks.
    """

    z: npt.NDArray[np.floating]
    slack: Float64


def cast(records: Records, columns: list[int], centre: Float64, widths: Float64, metric: Metric, dtype: type[np.floating]) -> Shadow:
    """Round the numeric cells of rows.

    Parameters
    ----------
    records : Records
        n rows.
    columns : list of int
        Numeric columns to cast, in the order wanted.
    centre, widths : ndarray of float64, shape (p,)
        One pair a numeric column; the centre is near the data so that little is lost.
    metric : str
        Decides the norm.
    dtype : type
        ``numpy.float32`` or ``numpy.float64``.

    Returns
    -------
    Shadow
    """
    n = len(records.numeric)
    z = np.empty((n, len(columns)), dtype=dtype)
    norm = np.zeros(n)
    for position, column in enumerate(columns):
        with np.errstate(over="ignore"):
            values = np.clip((records.numeric[:, column] - centre[column]) / widths[column], -REACH, REACH)
        z[:, position] = values
        size = np.abs(np.nan_to_num(values))
        norm += size * size if metric == "l2" else size
    if metric == "l2":
        norm = np.sqrt(norm)
    return Shadow(z, 3.0 * float(np.finfo(dtype).eps) / 2 * norm)


def find_centre(records: Records) -> Float64:
    """Return a point near the middle of the rows, 0 where a column has no known cell; shape (p,)."""
    present = ~np.isnan(records.numeric)
    count = np.maximum(present.sum(axis=0), 1)
    # dividing first: a sum of huge cells must not overflow
    centre = np.nansum(records.numeric / count, axis=0) if len(present) else np.zeros(records.numeric.shape[1])
    return np.asarray(np.where(np.isfinite(centre), centre, 0.0))


def find_gaps(*tables: Records) -> tuple[list[int], list[int]]:
    """Part numeric columns into those without a missing cell in any table and the others."""
    gappy = np.zeros(tables[0].numeric.shape[1], dtype=bool)
    for table in tables:
        gappy |= np.isnan(table.numeric).any(axis=0)
    return np.flatnonzero(~gappy).tolist(), np.flatnonzero(gappy).tolist()
