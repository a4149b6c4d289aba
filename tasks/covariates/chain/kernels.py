"""Compiled loops of the chain: growth of trees on codes, sums over trees, draws from leaves."""

from __future__ import annotations

import numpy as np

from tasks.numerics.compiled import compiled

_ROWS_AT_ONCE = 1024


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
    """Return the best split of one node as (feature, cut), or (-1, 0) where none lowers the loss enough."""
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
def _leaves(feature, depth):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Return the node in which each way down a tree ends, (t, 2^depth): bit by bit 1 where a way goes right, 0 below a leaf."""
    nodes = np.empty((feature.shape[0], 2**depth), dtype=np.int64)
    for t in range(feature.shape[0]):
        for way in range(2**depth):
            at = 0
            for level in range(depth - 1, -1, -1):
                if feature[t, at] >= 0:
                    at = 2 * at + 1 + ((way >> level) & 1)
            nodes[t, way] = at
    return nodes


@compiled
def add_trees(feature, cut, value, codes, out):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Add the values of trees (t, nodes, outputs) at the leaves of all rows to ``out`` (n, outputs), tree by tree.

    Each split of a level is compared for all rows, and counts for those whose way leads there: loops over bytes without branches take
    many rows in one instruction. Following each row down its own way takes ten times as long.
    """
    n, outputs = out.shape
    depth = 0
    while 2 ** (depth + 1) - 1 < feature.shape[1]:
        depth += 1
    nodes = _leaves(feature, depth)
    way, turn = np.empty(_ROWS_AT_ONCE, dtype=np.uint8), np.empty(_ROWS_AT_ONCE, dtype=np.uint8)
    for start in range(0, n, _ROWS_AT_ONCE):
        rows = min(_ROWS_AT_ONCE, n - start)
        for t in range(feature.shape[0]):
            way[:rows] = 0
            for level in range(depth):
                turn[:rows] = 0
                for k in range(2**level):
                    column = feature[t, 2**level - 1 + k]
                    if column >= 0:
                        here, highest, cells = np.uint8(k), cut[t, 2**level - 1 + k], codes[column, start : start + rows]
                        for i in range(rows):
                            turn[i] |= np.uint8((way[i] == here) & (cells[i] > highest))
                for i in range(rows):
                    way[i] = (way[i] << np.uint8(1)) | turn[i]
            if outputs == 1:
                worth = value[t, :, 0][nodes[t]]
                for i in range(rows):
                    out[start + i, 0] += worth[way[i]]
            else:
                for i in range(rows):
                    at = nodes[t, way[i]]
                    for o in range(outputs):
                        out[start + i, o] += value[t, at, o]


@compiled
def find_leaves(feature, cut, tree, codes, out):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Write the leaf in which row i lands in its tree ``tree[i]`` into ``out`` (n,)."""
    for i in range(len(out)):
        at, t = 0, tree[i]
        while feature[t, at] >= 0:
            at = 2 * at + 1 + (codes[feature[t, at], i] > cut[t, at])
        out[i] = at


@compiled
def draw_bins(upper, tree, leaf, chance, out):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Write the bin of each row: how many cumulative shares of its leaf, ``upper`` (trees, nodes, bins), are at most chance."""
    for i in range(len(out)):
        shares = upper[tree[i], leaf[i]]
        low, high = 0, len(shares) - 1
        while low < high:
            middle = (low + high) >> 1
            if shares[middle] <= chance[i]:
                low = middle + 1
            else:
                high = middle
        out[i] = low


@compiled
def draw_classes(logits, chance, place):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Write the class of each row, drawn by uniform numbers, to ``place`` (n,); logits (n, K), or (n, 1) of the second of two classes."""
    n, outputs = logits.shape
    classes = max(outputs, 2)
    upper = np.empty(classes)
    for i in range(n):
        place[i] = 0
        highest = 0.0 if outputs == 1 else logits[i, 0]
        for k in range(outputs):
            highest = max(highest, logits[i, k])
        total = 0.0
        for k in range(classes):
            logit = logits[i, k] if outputs > 1 else 0.0 if k == 0 else logits[i, 0]
            total += np.exp(logit - highest)
            upper[k] = total
        spot = chance[i] * total
        for k in range(classes - 1):
            if upper[k] <= spot:
                place[i] += 1
