"""Large problems: boxes of like rows, skipped where they can't hold anything closer; every row where boxes don't help."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np

from tasks.distance.boxes import GROUP, LEAF, Layout, lay_out, states
from tasks.distance.cells import Float64, Int32
from tasks.distance.partition import Codes, divide, locate
from tasks.distance.records import Distinct, Int64, Records
from tasks.distance.scale import Scale
from tasks.distance.shadow import Float32, cast, find_centre, find_gaps

T = TypeVar("T")

BLOCK = 1024  # queries that one call of a kernel takes
PROBE = 1024  # queries that tell whether boxes pay
SWEEP_ABOVE = 0.4  # share of leaves scanned beyond which boxes cost more than they save


_NOBODY = np.iinfo(np.int64).max


class Task(NamedTuple):
    """All arrays of one search, for the kernels. n queries in the order of their homes, m distinct reference rows.

    Attributes
    ----------
    x, a : ndarray of float64 (n, p), int32 (n, c)
        Queries.
    y, b : ndarray of float64 (m, p), int32 (m, c)
        Distinct reference rows.
    starts, rows : ndarray of int64
        Reference row numbers of distinct row u are ``rows[starts[u]:starts[u + 1]]``.
    q, state, slack, home : ndarray
        Shadow (n, p) of the queries, their codes for look-up (n, c + gappy), slack (n,), first group to search (n,).
    z, codes, flat, row, leaf_slack : ndarray
        Leaves: see :class:`tasks.distance.boxes.Layout`.
    low, high, absent, group_low, group_high, group_absent, group_slack, offset : ndarray
        Bounds of leaves and of groups.
    norms, largest : ndarray of float32, float64
        Squared norms of shadows at each position, and the largest of each leaf; empty where rows are not searched by products.
    widths : ndarray of float64, shape (p,)
    metric, plain : int
        0 l2, 1 l1, 2 gower; number of columns without gaps.
    cap : float32
        Largest term of a numeric column that isn't squared.
    """

    x: Float64
    a: Int32
    y: Float64
    b: Int32
    starts: Int64
    rows: Int64
    q: Float32
    state: Codes
    slack: Float64
    home: Int64
    z: Float32
    codes: Codes
    flat: Float32
    row: Int64
    leaf_slack: Float64
    low: Float32
    high: Float32
    absent: Codes
    group_low: Float32
    group_high: Float32
    group_absent: Codes
    group_slack: Float64
    offset: Int64
    norms: Float32
    largest: Float64
    widths: Float64
    metric: int
    plain: int
    cap: np.float32


def search(
    query: Records, reference: Records, copies: Distinct, sizes: tuple[int, ...], k: int, scale: Scale, threads: int
) -> tuple[Float64, Int64]:
    """Find the k closest reference rows of each query row; see :func:`tasks.distance.dense.search`.

    Parameters
    ----------
    query, reference : Records
        Encoded together; ``reference`` holds distinct rows only.
    copies : Distinct
        Row numbers of each distinct reference row.
    sizes : tuple of int
        Number of codes of each categorical column.
    k : int
        Number of neighbours, at most the number of reference rows.
    scale : Scale
        Fitted scale.
    threads : int
        Threads to use; changes nothing in the result.

    Returns
    -------
    distances : ndarray of float64, shape (n, k)
    indices : ndarray of int64, shape (n, k)
    """
    task, order = _prepare(query, reference, copies, sizes, scale)
    distances, indices = _run(task, k, threads)
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return distances[back], indices[back]


def search_tied(
    query: Records, reference: Records, copies: Distinct, sizes: tuple[int, ...], scale: Scale, threads: int
) -> tuple[Float64, Int64, Int64]:
    """Find every distinct reference row at the smallest distance; see :func:`tasks.distance.dense.search_tied`."""
    from tasks.distance import kernels

    task, order = _prepare(query, reference, copies, sizes, scale)
    best = np.ascontiguousarray(_run(task, 1, threads)[0][:, 0])
    counts = np.zeros(len(order), dtype=np.int64)
    parts = _over_blocks(lambda begin, stop: kernels.collect(task, begin, stop, best, counts), len(order), threads, BLOCK)
    tied = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
    owner = np.repeat(order, counts)
    ranked = np.lexsort((copies.first[tied], owner))
    distances = np.empty(len(order))
    distances[order] = best
    starts = np.concatenate(([0], np.cumsum(np.bincount(owner, minlength=len(order)))))
    return distances, starts, tied[ranked]


def _prepare(query: Records, reference: Records, copies: Distinct, sizes: tuple[int, ...], scale: Scale) -> tuple[Task, Int64]:
    """Lay out the reference and order the queries by the leaf they fall into."""
    plain, gappy = find_gaps(query, reference)
    widths, centre = scale.numeric_widths, find_centre(reference)
    shadows = [cast(table, plain + gappy, centre, widths, scale.metric, np.float32) for table in (query, reference)]
    # more categorical columns than a byte can count mismatches of: leaving some out keeps a lower bound
    some = slice(0, 250)
    narrow = [(table.codes[:, some] & 255).astype(np.uint8) for table in (query, reference)]
    cut = divide(shadows[1].z, narrow[1], scale.metric == "l2", LEAF)
    layout = lay_out(shadows[1].z, narrow[1], shadows[1].slack, cut.order, sizes[some], len(plain))
    position = locate(cut, shadows[0].z, narrow[0])
    order = np.argsort(position, kind="stable")
    leaves, groups = layout.leaves, layout.groups
    task = Task(
        query.numeric[order], query.codes[order], reference.numeric, reference.codes, copies.starts, copies.rows,
        shadows[0].z[order], states(shadows[0].z, query.codes[:, some], len(plain))[order], shadows[0].slack[order],
        position[order] // (LEAF * GROUP), layout.z, layout.codes, layout.flat, layout.row, leaves.slack.ravel(),
        leaves.low, leaves.high, leaves.absent, groups.low, groups.high, groups.absent, groups.slack.ravel(),
        layout.offset, *_norms(layout, scale, gappy), widths, ("l2", "l1", "gower").index(scale.metric), len(plain),
        np.float32(1.0 if scale.metric == "gower" else np.inf),
    )  # fmt: skip
    return task, order


def _norms(layout: Layout, scale: Scale, gappy: list[int]) -> tuple[Float32, Float64]:
    """Return what a search by products starts from, where it is one: distances of numeric columns without a missing cell."""
    if scale.metric != "l2" or layout.codes.shape[1] or gappy:
        return np.empty(0, dtype=np.float32), np.empty(0)
    norms = np.einsum("ij,ij->i", layout.flat, layout.flat, dtype=np.float64)
    return norms.astype(np.float32), norms.reshape(-1, LEAF).max(axis=1)


def _run(task: Task, k: int, threads: int) -> tuple[Float64, Int64]:
    from tasks.distance import kernels, products

    n = len(task.x)
    distances = np.full((n, k), np.inf)
    indices = np.full((n, k), _NOBODY)
    kernel = kernels.prune
    if n > 4 * PROBE:
        # queries from everywhere tell whether boxes pay; what they find is found again by the kernel that is chosen
        probes = np.linspace(0, n - 1, PROBE).astype(np.int64).tolist()
        scanned = sum(kernels.prune(task, at, at + 1, k, distances, indices) for at in probes)
        distances[probes], indices[probes] = np.inf, _NOBODY
        if scanned > SWEEP_ABOVE * PROBE * len(task.z):
            kernel = products.multiply if len(task.norms) else kernels.sweep
    _over_blocks(lambda begin, stop: kernel(task, begin, stop, k, distances, indices), n, threads, BLOCK)
    return distances, indices


def _over_blocks(kernel: Callable[[int, int], T], stop: int, threads: int, block: int) -> list[T]:
    edges = [(start, min(start + block, stop)) for start in range(0, stop, block)]
    if threads == 1:
        return [kernel(*edge) for edge in edges]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda edge: kernel(*edge), edges))
