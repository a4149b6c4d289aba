"""Which rows a part of the chain looks at."""

from __future__ import annotations

import numpy as np

from tasks.covariates.margins import Intp


def evenly(rows: Intp, most: int) -> Intp:
    """Return no more than so many of the rows, evenly spread.

    Parameters
    ----------
    rows : ndarray of intp, shape (n,)
    most : int
    """
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.intp)]


def sample_rows(n: int, wanted: int, rng: np.random.Generator) -> Intp:
    """Draw about so many row numbers below ``n``, in ascending order and none twice.

    Of more than two rows for each one wanted, one is drawn in every one of ``wanted`` equal stretches of the table; otherwise each row
    is in with the same chance. Both take no sorting, and every part of the table has its share.

    Parameters
    ----------
    n, wanted : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of intp
        All rows where no fewer are wanted; else about ``wanted`` of them.
    """
    if wanted >= n:
        return np.arange(n)
    if n <= 2 * wanted:
        return np.flatnonzero(rng.random(n) < wanted / n)
    chosen = np.minimum((np.arange(wanted) + rng.random(wanted)) * (n / wanted), n - 1).astype(np.intp)
    # where stretches end between two rows, neighbours can meet in one
    return chosen[np.diff(chosen, prepend=-1) > 0]
