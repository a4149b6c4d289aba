"""Putting drawn rows together in clusters, and drawing whole clusters from a pool."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tasks.contract.nuisance import Float64
from tasks.mechanisms.clusters import ClusterLaw, Intp, codes_of, scores_of

#: Clusters that are cut apart by one sorting.
_FEW = 8


def form_clusters(frame: pd.DataFrame, law: ClusterLaw, rng: np.random.Generator) -> tuple[pd.DataFrame, Intp]:
    """Put drawn rows together in clusters.

    Sizes are drawn from the source's. Rows are put together by recursive halving, most of all by the covariates that are constant within
    clusters, and by others as far as the source's are alike; these are blurred by noise so that they end up as alike as there. Then
    a row at random lends its constant covariates to all of its cluster, which leaves their law as it is.

    Parameters
    ----------
    frame : DataFrame, n rows
        Drawn covariates.
    law : ClusterLaw
    rng : numpy.random.Generator

    Returns
    -------
    DataFrame, n rows, and ndarray of intp, shape (n,)
        The rows, cluster by cluster, and the number of each row's cluster, from 0. The last cluster may be cut off.
    """
    n = len(frame)
    sizes = _sizes(law, n, rng)
    ends = np.cumsum(sizes)
    columns, weight = [], []
    for name in frame.columns:
        alike = 1.0 if name in law.constant else law.likeness.get(str(name), 0.0)
        if alike > 0.0:
            score = scores_of(codes_of(frame[name]))
            columns.append(np.sqrt(alike) * score + np.sqrt(1.0 - alike) * rng.normal(size=n))
            weight.append(alike)
    order = rng.permutation(n)
    if columns:
        _halve(order, np.column_stack(columns) * np.array(weight), ends)
    place = np.repeat(np.arange(len(sizes)), sizes)
    rows = frame.iloc[order].reset_index(drop=True)
    lender = (ends - sizes + (rng.random(len(sizes)) * sizes).astype(np.intp))[place]
    for name in law.constant:
        if name in rows:
            rows[name] = rows[name].iloc[lender].reset_index(drop=True)
    return rows, place


def cluster_means(values: Float64, place: Intp) -> Float64:
    """Return each row's mean over its cluster, shape (n, p): weights that depend on it are the same in a whole cluster."""
    sizes = np.bincount(place).astype(np.float64)
    sums = np.column_stack([np.bincount(place, weights=column) for column in values.T])
    return np.asarray((sums / sizes[:, None])[place])


def choose_clusters(probability: Float64, place: Intp, n: int, order_by: Float64, rng: np.random.Generator) -> Intp:
    """Draw whole clusters with given inclusion probabilities until there are n rows; the last one is cut off.

    Parameters
    ----------
    probability : ndarray of float64, shape (N,)
        Of each row, the same in a whole cluster; sum n.
    place : ndarray of intp, shape (N,)
        Number of each row's cluster, not falling.
    n : int
        Rows wanted.
    order_by : ndarray of float64, shape (N,)
        The sample is stratified by its mean over clusters.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of intp, shape (n,)
        Row numbers, cluster by cluster.
    """
    sizes = np.bincount(place)
    chance = np.bincount(place, weights=probability) / sizes
    key = np.bincount(place, weights=order_by) / sizes
    laid = np.argsort(key, kind="stable")
    ends = np.cumsum(chance[laid])
    passed = np.floor(ends - rng.random()).astype(np.int64) + 1
    taken = np.diff(np.maximum(passed, 0), prepend=0) > 0
    # in random order, spare clusters behind those taken: they fill up what is short of n rows
    chosen = np.concatenate([rng.permutation(laid[taken]), rng.permutation(laid[~taken])])
    starts = np.cumsum(sizes) - sizes
    upto = int(np.searchsorted(np.cumsum(sizes[chosen]), n)) + 1
    return np.concatenate([np.arange(starts[one], starts[one] + sizes[one]) for one in chosen[:upto]])[:n]


def _sizes(law: ClusterLaw, n: int, rng: np.random.Generator) -> Intp:
    """Draw sizes that add up to n, the last one cut."""
    expected = max(float(law.sizes @ law.shares), 1.0)
    sizes = np.empty(0, dtype=np.intp)
    while sizes.sum() < n:
        sizes = np.concatenate([sizes, rng.choice(law.sizes, size=int(n / expected) + 8, p=law.shares)])
    ends = np.cumsum(sizes)
    kept = int(np.searchsorted(ends, n)) + 1
    sizes = sizes[:kept]
    sizes[-1] -= ends[kept - 1] - n
    return np.asarray(sizes, dtype=np.intp)


def _halve(order: Intp, scores: Float64, ends: Intp) -> None:
    """Order rows so that neighbouring clusters hold rows of like scores: cut at the widest score, at a border of clusters."""
    waiting = [(0, len(ends))]
    while waiting:
        first, last = waiting.pop()
        if last - first < 2:
            continue
        start, stop = (int(ends[first - 1]) if first else 0), int(ends[last - 1])
        rows = order[start:stop]
        column = scores[rows, int(np.argmax(scores[rows].std(axis=0)))]
        if last - first <= _FEW:
            order[start:stop] = rows[np.argsort(column, kind="stable")]
            continue
        middle = (first + last) // 2
        order[start:stop] = rows[np.argpartition(column, int(ends[middle - 1]) - start - 1)]
        waiting += [(first, middle), (middle, last)]
