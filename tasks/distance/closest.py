"""The one face of the engine: closest records, ties, and how often each reference row is the closest one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.contract.errors import SourceError, SpecError
from tasks.distance import dense
from tasks.distance.cells import Float64
from tasks.distance.records import Distinct, Int64, Records, encode, find_distinct, keep_first
from tasks.distance.scale import Scale

SMALL = 25_000_000  # pairs up to which SciPy is done before Numba is loaded


class Tied(NamedTuple):
    """All closest reference rows of each of n query rows.

    Attributes
    ----------
    distances : ndarray of float64, shape (n,)
        Smallest distance.
    starts : ndarray of int64, shape (n + 1,)
        Closest rows of query row i are ``indices[starts[i]:starts[i + 1]]``, at least one.
    indices : ndarray of int64
        Row numbers in the reference, ascending within a query row.
    """

    distances: Float64
    starts: Int64
    indices: Int64


class _Problem(NamedTuple):
    """Distinct rows of both sides, encoded together."""

    query: Records
    reference: Records
    query_copies: Distinct
    reference_copies: Distinct
    sizes: tuple[int, ...]


def closest(query: pd.DataFrame, reference: pd.DataFrame, k: int = 1, *, scale: Scale, threads: int = 1) -> tuple[Float64, Int64]:
    """Find the k closest reference rows of every query row, exactly.

    Distances are those of the scale's metric computed in float64, terms added in column order; the same bits for any size of
    the problem, the number of threads and the order of rows.

    Parameters
    ----------
    query, reference : pandas.DataFrame
        n and m rows with the scale's columns in any order; missing cells allowed.
    k : int
        Number of neighbours, from 1 to m.
    scale : Scale
        What :func:`fit_scale` returned for all frames to be compared.
    threads : int
        Threads to use, at least 1.

    Returns
    -------
    distances : ndarray of float64, shape (n, k)
        Ascending in each row.
    indices : ndarray of int64, shape (n, k)
        Positions in ``reference``; the lowest first among equal distances.

    Raises
    ------
    SourceError
        If columns or kinds differ from the scale's, a cell is infinite, or the reference has fewer than k rows.
    SpecError
        If k or threads is below 1.
    """
    _check_count("k", k)
    problem = _pose(query, reference, k, scale, threads)
    if _is_small(problem):
        distances, indices = _spread(problem, k, scale)
    else:
        from tasks.distance import tree

        distances, indices = tree.search(problem.query, problem.reference, problem.reference_copies, problem.sizes, k, scale, threads)
    group = problem.query_copies.group
    return distances[group], indices[group]


def closest_tied(query: pd.DataFrame, reference: pd.DataFrame, *, scale: Scale, threads: int = 1) -> Tied:
    """Find all reference rows at the smallest distance of every query row, exactly.

    Parameters, units and errors are those of :func:`closest` with k = 1. Memory grows with the number of ties: where whole
    tables tie, ask :func:`closest_counts`.

    Returns
    -------
    Tied
    """
    problem = _pose(query, reference, 1, scale, threads)
    distances, starts, tied = _find_tied(problem, scale, threads)
    copies, group = problem.reference_copies, problem.query_copies.group
    sizes = np.diff(copies.starts)
    parts, part_of = _gather(starts, group)
    picked = tied[parts]
    members, member_of = _gather(copies.starts, picked)
    owner = part_of[member_of]
    rows = copies.rows[members]
    order = np.lexsort((rows, owner))
    counts = np.bincount(part_of, weights=sizes[picked], minlength=len(group)).astype(np.int64)
    return Tied(distances[group], np.concatenate(([0], np.cumsum(counts))), rows[order])


def closest_counts(query: pd.DataFrame, reference: pd.DataFrame, *, scale: Scale, threads: int = 1) -> Float64:
    """Count how many query rows have each reference row as their closest one, ties split evenly.

    Row j gets the sum over query rows i of 1{j is among the m_i closest of i} / m_i. Exact copies in either table cost no extra memory.

    Parameters, units and errors are those of :func:`closest` with k = 1.

    Returns
    -------
    ndarray of float64, shape (m,)
        Sums to the number of query rows, up to rounding.
    """
    problem = _pose(query, reference, 1, scale, threads)
    _, starts, tied = _find_tied(problem, scale, threads)
    copies = problem.reference_copies
    sizes = np.diff(copies.starts)
    owner = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    ties = np.bincount(owner, weights=sizes[tied], minlength=len(starts) - 1)
    share = np.diff(problem.query_copies.starts)[owner] / ties[owner]
    counts = np.bincount(tied, weights=share, minlength=len(sizes))
    return np.asarray(counts[copies.group], dtype=np.float64)


def _pose(query: pd.DataFrame, reference: pd.DataFrame, k: int, scale: Scale, threads: int) -> _Problem:
    _check_count("threads", threads)
    if len(reference) < k:
        raise SourceError(
            f"reference of closest must have at least k = {k} rows; got {len(reference)}.", "Lower k or bring a larger reference."
        )
    left, right, sizes = encode(query, reference, scale)
    copies = find_distinct(left), find_distinct(right)
    return _Problem(keep_first(left, copies[0]), keep_first(right, copies[1]), *copies, sizes)


def _is_small(problem: _Problem) -> bool:
    return len(problem.query.numeric) * len(problem.reference.numeric) <= SMALL


def _spread(problem: _Problem, k: int, scale: Scale) -> tuple[Float64, Int64]:
    """Search among distinct rows, then put each one's copies beside it."""
    copies = problem.reference_copies
    # the k closest rows are among the copies of the k closest distinct rows, ties by first appearance
    distances, nearest = dense.search(problem.query, problem.reference, min(k, len(problem.reference.numeric)), scale)
    n, width = nearest.shape
    if len(copies.rows) == len(copies.starts) - 1:
        return distances, nearest
    members, pick = _gather(copies.starts, nearest.ravel())
    rows, owner, apart = copies.rows[members], pick // width, distances.ravel()[pick]
    order = np.lexsort((rows, apart, owner))
    first = np.searchsorted(owner[order], np.arange(n))
    chosen = order[first[:, None] + np.arange(k)]
    return apart[chosen], rows[chosen]


def _find_tied(problem: _Problem, scale: Scale, threads: int) -> tuple[Float64, Int64, Int64]:
    """Return distances, starts and distinct reference rows, for the distinct query rows."""
    if _is_small(problem):
        return dense.search_tied(problem.query, problem.reference, scale)
    from tasks.distance import tree

    return tree.search_tied(problem.query, problem.reference, problem.reference_copies, problem.sizes, scale, threads)


def _gather(starts: Int64, picked: Int64) -> tuple[Int64, Int64]:
    """Return the positions of all entries of the picked lists, and which pick each belongs to."""
    sizes = np.diff(starts)[picked]
    owner = np.repeat(np.arange(len(picked)), sizes)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return starts[picked][owner] + within, owner


def _check_count(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise SpecError(f"{name} of closest must be a whole number of at least 1; got {value!r}.")
