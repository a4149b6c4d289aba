"""Which fold a row is in, and which rows a fold's models are fitted on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tasks.contract.nuisance import Float64, Int8
from tasks.contract.rng import UInt64, mix, salt


def training_rows(keys: UInt64, train: npt.NDArray[np.bool_], cap: int, seed: int) -> npt.NDArray[np.bool_]:
    """Pick the training rows of one fold, at most ``cap`` of them.

    Parameters
    ----------
    keys : ndarray of uint64, shape (n,)
        Distinct row keys.
    train : ndarray of bool, shape (n,)
        Rows outside the fold.
    cap : int
        Most rows a learner is fitted on.
    seed : int
        The SPEC's seed.

    Returns
    -------
    ndarray of bool, shape (n,)
        ``train`` itself, or its rows with the ``cap`` smallest hashes: the same rows in any order and partitioning.
    """
    if int(np.count_nonzero(train)) <= cap:
        return train.copy()
    rows = np.flatnonzero(train)
    # keys are distinct and mixing is a bijection: there are no ties
    first = np.argpartition(mix(keys[rows], salt(seed, "fit-rows")), cap - 1)[:cap]
    kept = np.zeros(len(train), dtype=bool)
    kept[rows[first]] = True
    return kept


def training_clusters(clusters: UInt64, train: npt.NDArray[np.bool_], cap: int, seed: int) -> npt.NDArray[np.bool_]:
    """Pick whole clusters of the training rows of one fold, at most ``cap`` rows of them.

    Parameters
    ----------
    clusters : ndarray of uint64, shape (n,)
        Hash of each row's cluster.
    train, cap, seed
        As in :func:`training_rows`.

    Returns
    -------
    ndarray of bool, shape (n,)
        ``train`` itself, or the rows of its clusters with the smallest hashes, as many as fit; never fewer than one cluster.
    """
    if int(np.count_nonzero(train)) <= cap:
        return train.copy()
    distinct, place, sizes = np.unique(clusters[train], return_inverse=True, return_counts=True)
    order = np.argsort(mix(distinct, salt(seed, "fit-rows")))
    taken = np.zeros(len(distinct), dtype=bool)
    taken[order] = np.cumsum(sizes[order]) <= max(cap, int(sizes[order[0]]))
    kept = np.zeros(len(train), dtype=bool)
    kept[np.flatnonzero(train)] = taken[place]
    return kept


def fold_strata(arm: Int8, y: Float64, kind: str, strata: npt.NDArray[np.int64] | None = None) -> npt.NDArray[np.int64]:
    """Return the strata that folds are assigned in, shape (n,): the arm, times the outcome where it is binary, times declared strata."""
    cells = np.asarray(arm, dtype=np.int64)
    cells = 2 * cells + np.asarray(y, dtype=np.int64) if kind == "binary" else cells
    return cells if strata is None else strata * (int(cells.max(initial=0)) + 1) + cells


def assign_cluster_folds(clusters: UInt64, arm: Int8, folds: int, seed: int, repeat: int = 0) -> Int8:
    """Assign whole clusters to folds by their hashes: rows of one cluster are never in two folds.

    Clusters are stratified by the arm of most of their rows, and dealt out by hash.

    Parameters
    ----------
    clusters : ndarray of uint64, shape (n,)
        Hash of each row's cluster.
    arm : ndarray of int8, shape (n,)
        Treatment, 0, ..., K - 1.
    folds, seed, repeat
        As in :func:`assign_folds`.

    Returns
    -------
    ndarray of int8, shape (n,)
        In ``[0, folds)``.
    """
    distinct, place = np.unique(clusters, return_inverse=True)
    counts = np.stack([np.bincount(place, weights=arm == one) for one in range(int(arm.max(initial=1)) + 1)])
    return assign_folds(distinct, counts.argmax(axis=0), folds, seed, repeat)[place]


def assign_folds(keys: UInt64, strata: npt.NDArray[np.integer], folds: int, seed: int, repeat: int = 0) -> Int8:
    """Assign rows to folds, stratified, by their keys: row order and partitioning don't matter.

    Parameters
    ----------
    keys : ndarray of uint64, shape (n,)
        Distinct row keys.
    strata : ndarray of int, shape (n,)
        Stratum of each row (treatment arm, times outcome where binary).
    folds : int
        Number of folds.
    seed, repeat : int
        Another repeat is another assignment.

    Returns
    -------
    ndarray of int8, shape (n,)
        In ``[0, folds)``; fold sizes within a stratum differ by at most one.
    """
    mixed = mix(keys, salt(seed, "fold", repeat))
    order = np.lexsort((mixed, strata))
    ordered = strata[order]
    first = np.concatenate(([0], np.flatnonzero(np.diff(ordered)) + 1)) if len(ordered) else np.zeros(1, dtype=np.intp)
    rank = np.arange(len(ordered)) - np.repeat(first, np.diff(np.concatenate((first, [len(ordered)]))))
    result = np.empty(len(keys), dtype=np.int8)
    # strata start at different folds so that remainders spread
    result[order] = (rank + ordered.astype(np.int64)) % folds
    return result
