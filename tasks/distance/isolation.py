"""The rows that stand alone, and how near others come to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.distance.cells import Float64
from tasks.distance.closest import closest
from tasks.distance.records import Int64
from tasks.distance.scale import Scale

#: The most isolated rows: this share of the distinct rows, and at least so many.
SHARE, LEAST = 0.01, 50
#: A drawn row is near a row at this share of the distance of the last one that is looked at.
NEAR = 0.1
#: Drawn rows that are looked at around each of them.
NEAREST = 8


class Isolated(NamedTuple):
    """The k most isolated of a table's distinct rows.

    Attributes
    ----------
    rows : ndarray of int64, shape (k,)
        Their positions, the most isolated first.
    radius : ndarray of float64, shape (k,)
        Distance of each to the closest other row, above 0.
    """

    rows: Int64
    radius: Float64


def most_isolated(pool: pd.DataFrame, copies: Int64, scale: Scale, share: float = SHARE) -> Isolated:
    """Find the rows that are farthest from their closest other row.

    Parameters
    ----------
    pool : pandas.DataFrame, shape (m, d)
        Distinct rows, in an order that tells nothing of their origin: it decides between rows of equal isolation.
    copies : ndarray of int64, shape (m,)
        Rows of the table that each distinct one stands for. One with a copy is not isolated.
    scale : Scale
        Of the distances.
    share : float
        Of the distinct rows that are taken, in (0, 1].

    Returns
    -------
    Isolated
        At least 50 rows, fewer where fewer have no copy.
    """
    if len(pool) < 2:
        return Isolated(np.empty(0, dtype=np.int64), np.empty(0))
    radius = np.where(copies > 1, 0.0, closest(pool, pool, k=2, scale=scale)[0][:, 1])
    order = np.lexsort((np.arange(len(pool)), -radius))[: max(LEAST, math.ceil(share * len(pool)))]
    chosen = order[radius[order] > 0]
    return Isolated(chosen.astype(np.int64), radius[chosen])


def approaches(rows: pd.DataFrame, drawn: pd.DataFrame, scale: Scale) -> Float64:
    """Return the distances of each of k rows to its closest drawn rows.

    Parameters
    ----------
    rows, drawn : pandas.DataFrame, shapes (k, d), (n, d)
        The isolated rows, and some released ones.
    scale : Scale
        Of the distances.

    Returns
    -------
    ndarray of float64, shape (k, NEAREST)
        Ascending; infinite where fewer rows were drawn.
    """
    near = min(NEAREST, len(drawn))
    distances = np.full((len(rows), NEAREST), np.inf)
    if near and len(rows):
        distances[:, :near] = closest(rows, drawn, k=near, scale=scale)[0]
    return distances


def is_tracked(distances: Float64) -> npt.NDArray[np.bool_]:
    """Return which rows a drawn row comes near to, for how near the others come: a tenth of the distance of the last of them, or less.

    The ratio does not depend on how dense the drawn rows are around a row, so it is as rare for isolated rows as for others: in d
    dimensions about ``NEAREST`` * 0.1^d. A copy with a little noise has a ratio near 0.

    Parameters
    ----------
    distances : ndarray of float64, shape (k, NEAREST)
        Of :func:`approaches`, over all parts of the table.

    Returns
    -------
    ndarray of bool, shape (k,)
        False where fewer than ``NEAREST`` rows were drawn.
    """
    last = distances[:, -1]
    return np.isfinite(last) & (distances[:, 0] <= NEAR * np.where(np.isfinite(last), last, 0.0))


def merge(parts: Sequence[Float64]) -> Float64:
    """Return the approaches of all parts of a table together from those of each; any way of cutting the table gives the same."""
    return np.asarray(np.sort(np.concatenate(parts, axis=1), axis=1)[:, :NEAREST])
