"""Groups of columns that closeness is judged on, so that rows copied in part are seen."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from tasks.checks.evidence import Float64

#: Most groups of columns that hang together, and groups of columns taken at random.
CORRELATED = RANDOM = 3
#: Fewest columns that are cut into groups, and of a group.
FEWEST, SMALLEST = 4, 2
#: Bins that numeric columns are cut into to see what hangs together, and rows looked at.
_BINS, _ROWS = 5, 2_000


class Group(NamedTuple):
    """Columns that are compared together.

    Attributes
    ----------
    name : str
        ``"all"``, ``"correlated 1"``, ``"random 1"``, ...
    columns : tuple of str
        Column ids, in the table's order.
    """

    name: str
    columns: tuple[str, ...]


def column_groups(pool: pd.DataFrame, rng: np.random.Generator) -> list[Group]:
    """Choose groups: all columns, up to three of columns that hang together, three at random of a third of the columns.

    Parameters
    ----------
    pool : pandas.DataFrame, shape (n, d)
        Canonical covariates of training rows and holdout, in an order that is independent of the side.
    rng : numpy.random.Generator
        Decides the random groups.

    Returns
    -------
    list of Group
        All columns first; no two groups alike. Only "all" with fewer than four columns.
    """
    every = list(pool.columns)
    chosen = [Group("all", tuple(every))]
    if len(every) < FEWEST:
        return chosen
    labels = _clusters(associations(pool.iloc[:_ROWS]))
    drawn = [
        ("correlated", [np.flatnonzero(labels == label) for label in sorted(set(labels.tolist()))]),
        (
            "random",
            [np.sort(rng.choice(len(every), max(SMALLEST, round(len(every) / 3)), replace=False)) for _ in range(RANDOM)],
        ),
    ]
    for kind, groups in drawn:
        number = 0
        for places in groups:
            columns = tuple(every[place] for place in places)
            if len(columns) >= SMALLEST and columns not in [group.columns for group in chosen]:
                number += 1
                chosen.append(Group(f"{kind} {number}", columns))
    return chosen


def associations(frame: pd.DataFrame) -> Float64:
    """Return how much each two columns have to do with each other, whatever their kinds: Cramér's V of their bins.

    Numeric columns are cut at quintiles, categorical ones by their most frequent levels; missing is a bin of its own.

    Parameters
    ----------
    frame : pandas.DataFrame, shape (n, d)

    Returns
    -------
    ndarray of float64, shape (d, d)
        In [0, 1], corrected for bias (Bergsma 2013, DOI 10.1016/j.jkss.2012.10.002); ones on the diagonal.
    """
    n, codes = len(frame), [_bins(frame[name]) for name in frame.columns]
    sizes = np.array([int(code.max()) + 1 for code in codes])
    starts = np.concatenate(([0], np.cumsum(sizes)))
    indicators = np.zeros((n, int(starts[-1])), dtype=np.float32)
    for code, start in zip(codes, starts):
        indicators[np.arange(n), start + code] = 1.0
    joint = (indicators.T @ indicators).astype(np.float64) / n
    shares = np.diag(joint).copy()
    # the sum of p_ij^2 / (p_i p_j) over the cells of two columns, less 1, is phi^2
    ratio = np.add.reduceat(np.add.reduceat(joint**2 / np.outer(shares, shares), starts[:-1], axis=0), starts[:-1], axis=1)
    free = np.outer(sizes - 1, sizes - 1) / (n - 1)
    phi = np.maximum(0.0, ratio - 1 - free)
    corrected = sizes - (sizes - 1) ** 2 / (n - 1)
    most = np.maximum(np.minimum.outer(corrected, corrected) - 1, 1e-12)
    value = np.sqrt(np.clip(phi / most, 0.0, 1.0))
    np.fill_diagonal(value, 1.0)
    return np.asarray(value, dtype=np.float64)


def _bins(column: pd.Series) -> npt.NDArray[np.int64]:
    """Return the bin of each cell, counted from 0 without a gap."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes = np.asarray(column.cat.codes, dtype=np.int64)
        frequent = np.argsort(-np.bincount(codes + 1), kind="stable")[: 2 * _BINS] - 1
        raw = np.where(np.isin(codes, frequent), codes, -2)
    else:
        values = column.to_numpy(dtype=np.float64)
        present = values[~np.isnan(values)]
        edges = np.unique(np.quantile(present, np.arange(1, _BINS) / _BINS)) if len(present) else np.empty(0)
        raw = np.where(np.isnan(values), -1, np.searchsorted(edges, values, side="left"))
    return np.unique(raw, return_inverse=True)[1].ravel().astype(np.int64)


def _clusters(association: Float64) -> npt.NDArray[np.int64]:
    """Cluster columns by average linkage into at most three; shape (d,)."""
    apart = 1.0 - association
    np.fill_diagonal(apart, 0.0)
    tree = linkage(squareform((apart + apart.T) / 2, checks=False), method="average")
    return np.asarray(fcluster(tree, CORRELATED, criterion="maxclust"), dtype=np.int64)
