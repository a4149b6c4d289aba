"""Folds on which a synthesizer's own choices are made."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

FOLDS = 6


def assign_folds(table: pd.DataFrame, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Assign rows to folds at random; copies of one row stay together where copies are not the table's nature.

    A bootstrap sample holds many rows twice or more. Were one copy held out and the other fitted on, every
    choice made on the folds would favour memory.

    Parameters
    ----------
    table : pandas.DataFrame, shape (n, d)
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of intp, shape (n,)
        In ``[0, FOLDS)``.
    """
    n = len(table)
    codes = np.asarray(pd.util.hash_pandas_object(table, index=False), dtype=np.uint64)
    group = np.unique(codes, return_inverse=True)[1]
    groups = int(group.max()) + 1
    # few distinct rows: a table of few cells, where equal rows are different people
    if groups < n / 2:
        group, groups = np.arange(n), n
    return np.asarray((rng.permutation(groups) % FOLDS)[group], dtype=np.intp)
