"""Compiled loops of the chain: coding of predictors, growth of trees on codes, sums over trees."""

from __future__ import annotations

import numpy as np

from tasks.numerics.compiled import compiled

_ROWS_AT_ONCE = 1024


@compiled
def encode(design, edges, codes):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Write the number of edges below each cell into ``codes`` (p, n); ``edges`` (p, 2^k - 1) are sorted and padded with infinity."""
    n, p = design.shape
    half = (edges.shape[1] + 1) // 2
    for j in range(p):
        for i in range(n):
            x = design[i, j]
            place = 0
            step = half
            while step > 0:
                if edges[j, place + step - 1] < x:
                    place += step
                step //= 2
            codes[j, i] = place


@compiled
def _tally(codes, rows, chosen, node, gradient, first, count, total):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Add the chosen rows to the histograms of their nodes."""
    p, outputs = codes.shape[0], gradient.shape[1]
    for j in range(p):
        for i in chosen:
            k = node[i] - first
            code = codes[j, rows[i]]
            count[k, j, code] += 1
            for o in range(outputs):
                total[k, j, code, o] += gradient[i, o]


@compiled
def _split(count, total, used, least, penalty, worth):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Return the best split of one node as (feature, cut), or (-1, 0) where none is worth it."""
    p, bins = count.shape
    outputs = total.shape[2]
    rows = 0
    whole = np.zeros(outputs)
    for b in range(bins):
        rows += count[0, b]
        for o in range(outputs):
            whole[o] += total[0, b, o]
    base = 0.0
    for o in range(outputs):
        base += whole[o] * whole[o] / (rows + penalty)
    best, feature, cut = worth, -1, 0
    left = np.zeros(outputs)
    for j in range(p):
        if not used[j]:
            continue
        here = 0
        left[:] = 0.0
        for b in range(bins - 1):
            if count[j, b] == 0:
                continue
            here += count[j, b]
            for o in range(outputs):
                left[o] += total[j, b, o]
            if here < least:
                continue
            if rows - here < least:
                break
            gain = -base
            for o in range(outputs):
                right = whole[o] - left[o]
                gain += left[o] * left[o] / (here + penalty) + right * right / (rows - here + penalty)
            if gain > best:
                best, feature, cut = gain, j, b
    return feature, cut


@compiled
def grow(codes, rows, gradient, used, bins, depth, least, penalty, worth):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Grow one tree level by level; children of node i are 2 i + 1 and 2 i + 2.

    A split maximises ``sum_o G_lo^2 / (n_l + penalty) + G_ro^2 / (n_r + penalty)``, G the sums of outputs on its sides; of two
    siblings only the smaller is counted, the other is the rest of their parent.

    Returns
    -------
    tuple
        ``feature`` (nodes,) int16 with -1 in a leaf, ``cut`` (nodes,) uint8 (left where code <= cut), node of each row (m,) int32.
    """
    p, m, outputs = codes.shape[0], len(rows), gradient.shape[1]
    feature = np.full(2 ** (depth + 1) - 1, -1, dtype=np.int16)
    cut = np.zeros(2 ** (depth + 1) - 1, dtype=np.uint8)
    node = np.zeros(m, dtype=np.int32)
    above_count = np.zeros((1, p, bins), dtype=np.int64)
    above_total = np.zeros((1, p, bins, outputs))
    for level in range(depth):
        width, first = 2**level, 2**level - 1
        size = np.zeros(width, dtype=np.int64)
        for i in range(m):
            if node[i] >= first:
                size[node[i] - first] += 1
        counted = np.zeros(width, dtype=np.bool_)
        for k in range(width):
            sibling = k ^ 1 if level > 0 else k
            counted[k] = size[k] > 0 and (size[k] < size[sibling] or (size[k] == size[sibling] and k <= sibling))
        held = 0
        chosen = np.empty(m, dtype=np.int64)
        for i in range(m):
            if node[i] >= first and counted[node[i] - first]:
                chosen[held] = i
                held += 1
        count = np.zeros((width, p, bins), dtype=np.int64)
        total = np.zeros((width, p, bins, outputs))
        _tally(codes, rows, chosen[:held], node, gradient, first, count, total)
        grown = False
        for k in range(width):
            if size[k] > 0 and not counted[k]:
                count[k] = above_count[k // 2] - count[k ^ 1]
                total[k] = above_total[k // 2] - total[k ^ 1]
        for k in range(width):
            if size[k] >= 2 * least:
                gain, place = _split(count[k], total[k], used, least, penalty, worth)
                feature[first + k] = gain
                cut[first + k] = place
                grown = grown or gain >= 0
        if not grown:
            break
        for i in range(m):
            at = node[i]
            if at >= first and feature[at] >= 0:
                node[i] = 2 * at + 1 + (codes[feature[at], rows[i]] > cut[at])
        above_count, above_total = count, total
    return feature, cut, node


@compiled
def add_trees(feature, cut, value, codes, out):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Add the values of trees (t, nodes, outputs) at the leaves of all rows to ``out`` (n, outputs), tree by tree."""
    n, outputs = out.shape
    for start in range(0, n, _ROWS_AT_ONCE):
        for t in range(feature.shape[0]):
            for i in range(start, min(start + _ROWS_AT_ONCE, n)):
                at = 0
                while feature[t, at] >= 0:
                    at = 2 * at + 1 + (codes[feature[t, at], i] > cut[t, at])
                for o in range(outputs):
                    out[i, o] += value[t, at, o]


@compiled
def find_leaves(feature, cut, tree, codes, out):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Write the leaf in which row i lands in its tree ``tree[i]`` into ``out`` (n,)."""
    for i in range(len(out)):
        at, t = 0, tree[i]
        while feature[t, at] >= 0:
            at = 2 * at + 1 + (codes[feature[t, at], i] > cut[t, at])
        out[i] = at
