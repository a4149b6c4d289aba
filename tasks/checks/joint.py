"""Closeness over several groups of columns at once: the largest z, under one relabelling of the rows for all groups."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.checks.evidence import Float64, Int64
from tasks.checks.null import tally

Bool = npt.NDArray[np.bool_]

#: Relabellings that make up the null of the largest z.
RELABELLINGS = 999


class Joint(NamedTuple):
    """The largest z over groups.

    Attributes
    ----------
    z : tuple of float
        Of each group, beyond what the margin allows.
    share : tuple of float
        Of each group: of the released rows whose closest record is one single row, the share for which it is a training row; NaN for none.
    null : float
        Its expectation when nothing leaks: the share of training rows of the pool.
    worst : int
        Which group has the largest z.
    p : float
        Share of relabellings (and the labels as they are) with as large a z in any group, in (0, 1].
    """

    z: tuple[float, ...]
    share: tuple[float, ...]
    null: float
    worst: int
    p: float


def single_counts(distances: Float64, rows: Int64, of: Int64) -> Float64:
    """Count, for each pool row, the released rows it is the closest to, if no other pool row is alike in the columns compared.

    Parameters
    ----------
    distances, rows : ndarray, shape (n, k)
        Closest distinct rows; see :func:`tasks.checks.null.tally`.
    of : ndarray of int64, shape (N,)
        Which distinct row each pool row is.

    Returns
    -------
    ndarray of float64, shape (N,)
        0 where rows are alike.
    """
    copies = np.bincount(of).astype(np.int64)
    counts = np.where(copies == 1, tally(distances, rows, copies), 0.0)
    return np.asarray(counts[of], dtype=np.float64)


def joint_closeness(counts: Float64, training: Bool, margin: float, rng: np.random.Generator) -> Joint:
    """Test the largest closeness z of several groups of columns against random relabelling of the pool's rows.

    All groups share the rows, so they share each relabelling too; the null of the largest z is that of these very groups, however
    much they overlap (Westfall, Young 1993, ISBN 978-0-471-55761-6). A pool row that is alike to another in a group's columns has no
    count there: where few cells repeat, every law that knows the frequencies of the training rows leans to it by about the root of the
    number of cells without having memorised a row.

    Parameters
    ----------
    counts : ndarray of float64, shape (N, G)
        Released rows that each pool row is the closest to, by group; 0 for rows that are not single in a group's columns.
    training : ndarray of bool, shape (N,)
        Which pool rows are training rows; some are and some are not.
    margin : float
        Share of rows that may lean to the training rows as if copied, in [0, 1).
    rng : numpy.random.Generator
        Draws the relabellings.

    Returns
    -------
    Joint
        p is 1 where no group has a single row to judge on.
    """
    size, n_training = len(training), int(training.sum())
    rate = n_training / size
    centred = counts - counts.mean(axis=0)
    sd = np.sqrt(n_training * (size - n_training) / (size * (size - 1)) * np.sum(centred**2, axis=0))
    good, total = sd > 1e-12, counts.sum(axis=0)
    unit = np.where(good, sd, 1.0)
    allowed = margin * (1 - rate) * total
    seen = counts[training].sum(axis=0)
    z = np.where(good, (seen - rate * total - allowed) / unit, 0.0)
    share = np.divide(seen, total, out=np.full(len(total), math.nan), where=total > 0)
    p = 1.0
    if good.any():
        # the smaller side is the cheaper to draw; a sum over the holdout is the total less that over the training rows
        small = min(n_training, size - n_training)
        sign = 1.0 if small == n_training else -1.0
        sums = np.stack([centred[rng.permutation(size)[:small]].sum(axis=0) for _ in range(RELABELLINGS)])
        largest = (sign * sums[:, good] / unit[good]).max(axis=1)
        # sums of the same rows in another order round otherwise: equal is as large
        p = float((1 + np.sum(largest >= z[good].max() - 1e-9)) / (1 + RELABELLINGS))
    return Joint(tuple(z.tolist()), tuple(share.tolist()), rate, int(np.argmax(np.where(good, z, -np.inf))), p)
