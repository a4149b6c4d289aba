"""The pool of training and holdout rows as its distinct rows, so that ties cost nothing and are split exactly."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.contract.errors import EstimationError


class Pool(NamedTuple):
    """Distinct training and holdout rows together.

    Attributes
    ----------
    rows : pandas.DataFrame, shape (m, d)
        Distinct rows, ordered by content, independent of which rows are training rows.
    training, holdout : ndarray of int64, shape (m,)
        Training and holdout rows with that content; at least one in all.
    """

    rows: pd.DataFrame
    training: npt.NDArray[np.int64]
    holdout: npt.NDArray[np.int64]


def gather(training: pd.DataFrame, holdout: pd.DataFrame) -> Pool:
    """Return the distinct rows of both tables with their multiplicities.

    Parameters
    ----------
    training, holdout : pandas.DataFrame, shapes (n, d), (m, d)
        Canonical covariates, the same columns and categories in both; missing equals missing.

    Returns
    -------
    Pool

    Raises
    ------
    EstimationError
        If the columns differ or there are no rows.
    """
    if list(training.columns) != list(holdout.columns) or not len(training) + len(holdout):
        raise EstimationError(
            "columns of training rows and holdout must be the same, and there must be rows; "
            f"got {len(training.columns)} and {len(holdout.columns)} columns, {len(training) + len(holdout)} rows."
        )
    rows, group = distinct(pd.concat([training, holdout], ignore_index=True))
    size = len(rows)
    return Pool(
        rows,
        np.bincount(group[: len(training)], minlength=size).astype(np.int64),
        np.bincount(group[len(training) :], minlength=size).astype(np.int64),
    )


def first_of_units(units: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Return which rows are the first of their cluster, shape (n,): one row for each."""
    mask = np.zeros(len(units), dtype=np.bool_)
    mask[np.unique(units, return_index=True)[1]] = True
    return mask


class UnitPool(NamedTuple):
    """Training and holdout rows whose units are clusters.

    Attributes
    ----------
    rows : pandas.DataFrame, shape (m, d)
        Rows ordered by content, then by cluster; equal rows of one cluster are one.
    unit : ndarray of int64, shape (m,)
        Number of each row's cluster.
    training : ndarray of bool, shape (units,)
        Which clusters are training rows; the others are held out.
    """

    rows: pd.DataFrame
    unit: npt.NDArray[np.int64]
    training: npt.NDArray[np.bool_]


def gather_units(
    training: pd.DataFrame, holdout: pd.DataFrame, of_training: npt.NDArray[np.uint64], of_holdout: npt.NDArray[np.uint64]
) -> UnitPool:
    """Return the rows of both tables with the clusters that they belong to; no cluster is on both sides.

    Parameters
    ----------
    training, holdout : pandas.DataFrame, shapes (n, d), (m, d)
        As of :func:`gather`.
    of_training, of_holdout : ndarray of uint64, shapes (n,), (m,)
        Hashes of their clusters.
    """
    both = pd.concat([training, holdout], ignore_index=True)
    names, unit = np.unique(np.concatenate([of_training, of_holdout]), return_inverse=True)
    keyed = np.column_stack([_codes(both), unit])
    _, first = np.unique(keyed, axis=0, return_index=True)
    return UnitPool(both.iloc[first].reset_index(drop=True), unit[first].astype(np.int64), np.isin(names, of_training))


def distinct(frame: pd.DataFrame) -> tuple[pd.DataFrame, npt.NDArray[np.int64]]:
    """Return the distinct rows of a table, ordered by content, and which of them each row is.

    Parameters
    ----------
    frame : pandas.DataFrame, shape (n, d)
        Canonical covariates; missing equals missing.

    Returns
    -------
    tuple of pandas.DataFrame, shape (m, d), and ndarray of int64, shape (n,)
        Distinct rows, and positions in [0, m).
    """
    _, first, inverse = np.unique(_codes(frame), axis=0, return_index=True, return_inverse=True)
    return frame.iloc[first].reset_index(drop=True), inverse.ravel().astype(np.int64)


def identical_pairs(frame: pd.DataFrame) -> int:
    """Count pairs of identical rows: the sum of c (c - 1) / 2 over groups of c.

    Parameters
    ----------
    frame : pandas.DataFrame, shape (n, d)
        Canonical covariates; missing equals missing.

    Returns
    -------
    int
    """
    if not len(frame):
        return 0
    _, counts = np.unique(_codes(frame), axis=0, return_counts=True)
    return int((counts * (counts - 1) // 2).sum())


def _codes(frame: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return each cell's rank among the values of its column, -1 where missing; shape (n, d)."""
    columns = [np.asarray(pd.factorize(frame[name], sort=True)[0], dtype=np.int64) for name in frame.columns]
    return np.column_stack(columns) if columns else np.zeros((len(frame), 1), dtype=np.int64)
