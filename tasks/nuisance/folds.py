"""Which fold a row is in, and which rows a fold's models are fitted on: of a table of which a partition is in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.contract.nuisance import Float64, Int8
from tasks.contract.rng import UInt64, mix, salt

Int64 = npt.NDArray[np.int64]
#: Most rows that are ranked at a time.
RANKED_ROWS = 1_000_000


class FoldUnits(NamedTuple):
    """What the folds of some rows depend on; arrays of shape (n,).

    Attributes
    ----------
    keys : ndarray of uint64
        Distinct in the whole table.
    a : ndarray of int8
        Treatment, 0, ..., K - 1.
    y : ndarray of float64
        Outcome.
    clusters : ndarray of uint64, or None
        Hash of each row's cluster.
    strata : ndarray of int64, or None
        Declared stratum of each row, from 0.
    """

    keys: UInt64
    a: Int8
    y: Float64
    clusters: UInt64 | None = None
    strata: Int64 | None = None


def hash_limit(units: Iterable[UInt64], cap: int, seed: int) -> int | None:
    """Return the largest hash of the units that a sample of at most ``cap`` rows takes.

    Units are taken in the order of their hashes, whole, as many as fit; never fewer than one.

    Parameters
    ----------
    units : iterable of ndarray of uint64
        The unit of each row that may be taken, partition by partition: its key, or the hash of its cluster.
    cap : int
        Most rows.
    seed : int
        The SPEC's seed.

    Returns
    -------
    int or None
        Of :func:`tasks.contract.rng.mix`, a bijection: there are no ties. None where all rows fit.
    """
    by, total = salt(seed, "fit-rows"), 0
    hashes, sizes = np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64)
    for part in units:
        total += len(part)
        mixed = mix(part, by)
        if total > cap and int(sizes.sum()) > cap:
            mixed = mixed[mixed <= hashes[-1]]
        new, counts = np.unique(mixed, return_counts=True)
        hashes, place = np.unique(np.concatenate((hashes, new)), return_inverse=True)
        sizes = np.bincount(place, weights=np.concatenate((sizes, counts)), minlength=len(hashes)).astype(np.int64)
        # what comes behind a full sample is in none
        kept = np.cumsum(sizes) - sizes <= cap
        hashes, sizes = hashes[kept], sizes[kept]
    if total <= cap:
        return None
    return int(hashes[np.cumsum(sizes) <= max(cap, int(sizes[0]))][-1])


def within_limit(units: UInt64, train: npt.NDArray[np.bool_], limit: int | None, seed: int) -> npt.NDArray[np.bool_]:
    """Return which rows are in a sample, shape (n,): those of ``train`` whose unit's hash is at most :func:`hash_limit`."""
    return train.copy() if limit is None else train & (mix(units, salt(seed, "fit-rows")) <= np.uint64(limit))


def training_rows(units: UInt64, train: npt.NDArray[np.bool_], cap: int, seed: int) -> npt.NDArray[np.bool_]:
    """Pick the training rows of one fold, at most ``cap`` of them.

    Parameters
    ----------
    units : ndarray of uint64, shape (n,)
        Distinct row keys, or the hash of each row's cluster: clusters are taken whole.
    train : ndarray of bool, shape (n,)
        Rows outside the fold.
    cap : int
        Most rows a learner is fitted on.
    seed : int
        The SPEC's seed.

    Returns
    -------
    ndarray of bool, shape (n,)
        ``train`` itself, or its rows with the ``cap`` smallest hashes: the same rows in any order and partitioning. Of clusters those
        with the smallest hashes, as many as fit; never fewer than one.
    """
    return within_limit(units, train, hash_limit((units[train],), cap, seed), seed)


def fold_strata(arm: Int8, y: Float64, kind: str, strata: Int64 | None = None, width: int | None = None) -> Int64:
    """Return the strata that folds are assigned in, shape (n,): the arm, times the outcome where it is binary, times declared strata.

    ``width`` is the number of strata without declared ones, where the rows are some of a table's.
    """
    cells = np.asarray(arm, dtype=np.int64)
    cells = 2 * cells + np.asarray(y, dtype=np.int64) if kind == "binary" else cells
    return cells if strata is None else strata * (int(cells.max(initial=0)) + 1 if width is None else width) + cells


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
    return _dealt(mix(keys, salt(seed, "fold", repeat)), np.asarray(strata, dtype=np.int64), folds, np.zeros(0, dtype=np.int64))


def assign_parts(
    parts: Callable[[], Iterable[FoldUnits]], rows: int, kind: str, folds: int, seed: int, repeat: int = 0, most: int = RANKED_ROWS
) -> Int8:
    """Assign the rows of a table to folds, of which a partition and ``most`` hashes are in memory at a time.

    Rows get the folds of :func:`assign_folds`. Each pass over the table ranks the rows of one span of hashes; the ranks go on from the
    passes before. Rows that come in clusters get the fold of their cluster, which is dealt out by its hash, stratified by the arm of most
    of its rows: one number for each cluster is in memory then.

    Parameters
    ----------
    parts : callable
        Returns the partitions, the same ones in the same order each time.
    rows : int
        n.
    kind : str
        Of the outcome; a binary one stratifies.
    folds, seed, repeat
        As in :func:`assign_folds`.
    most : int
        Rows that one pass ranks, about.

    Returns
    -------
    ndarray of int8, shape (n,)
    """
    if next(iter(parts())).clusters is not None:
        return _assign_clusters(parts, folds, seed, repeat)
    width = None
    if next(iter(parts())).strata is not None:
        width = 1 + max(int(fold_strata(part.a, part.y, kind).max(initial=0)) for part in parts())
    by, passes = salt(seed, "fold", repeat), max(1, -(-rows // most))
    result, before = np.empty(rows, dtype=np.int8), np.zeros(0, dtype=np.int64)
    for number in range(passes):
        places, hashes, strata, start = [], [], [], 0
        for part in parts():
            mixed = mix(part.keys, by)
            # spans of hashes, in ascending order
            here = np.flatnonzero(((mixed >> np.uint64(32)) * np.uint64(passes)) >> np.uint64(32) == number)
            places.append(start + here)
            hashes.append(mixed[here])
            strata.append(fold_strata(part.a, part.y, kind, part.strata, width)[here])
            start += len(mixed)
        stratum = np.concatenate(strata)
        before = np.pad(before, (0, max(0, int(stratum.max(initial=-1)) + 1 - len(before))))
        result[np.concatenate(places)] = _dealt(np.concatenate(hashes), stratum, folds, before)
        before += np.bincount(stratum, minlength=len(before))
    return result


def _assign_clusters(parts: Callable[[], Iterable[FoldUnits]], folds: int, seed: int, repeat: int) -> Int8:
    """Assign whole clusters to folds by their hashes: rows of one cluster are never in two folds."""
    arms = 1 + max(int(part.a.max(initial=1)) for part in parts())
    distinct, counts = np.empty(0, dtype=np.uint64), np.empty((arms, 0))
    for part in parts():
        assert part.clusters is not None  # the caller looked
        new, of_new = np.unique(part.clusters, return_inverse=True)
        distinct, place = np.unique(np.concatenate((distinct, new)), return_inverse=True)
        old, further = place[: counts.shape[1]], place[counts.shape[1] :]
        total = np.zeros((arms, len(distinct)))
        for arm in range(arms):
            total[arm, old] = counts[arm]
            total[arm, further] += np.bincount(of_new, weights=part.a == arm, minlength=len(new))
        counts = total
    of_cluster = assign_folds(distinct, counts.argmax(axis=0), folds, seed, repeat)
    return np.concatenate([of_cluster[np.searchsorted(distinct, part.clusters)] for part in parts() if part.clusters is not None])


def _dealt(mixed: UInt64, strata: Int64, folds: int, before: Int64) -> Int8:
    """Return the fold of each row by its rank in its stratum, of which so many rows came ``before``, none by default."""
    order = np.lexsort((mixed, strata))
    ordered = strata[order]
    first = np.concatenate(([0], np.flatnonzero(np.diff(ordered)) + 1)) if len(ordered) else np.zeros(1, dtype=np.intp)
    rank = np.arange(len(ordered)) - np.repeat(first, np.diff(np.concatenate((first, [len(ordered)]))))
    if len(before):
        rank = rank + before[ordered]
    result = np.empty(len(mixed), dtype=np.int8)
    # strata start at different folds so that remainders spread
    result[order] = (rank + ordered) % folds
    return result
