"""Compiled loops. Imported only where a problem is large enough to pay for loading Numba.

The float32 loops may be reordered by the compiler (they only filter, within proven slack); :func:`_exact` may not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

_SEVENS = np.uint32(0x7F7F7F7F)
_ONES = np.uint32(0x01010101)
_SEVEN = np.uint32(7)
_TOP = np.uint32(24)
TILE = 8  # leaves that stay in the first cache while all queries of a block pass by


def compiled(reorder: bool = False, inline: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Compile on first call and keep the machine code on disk where some folder can be written."""
    # a call that hands arrays over costs as much as a leaf: the hot loops are pasted into their callers.
    # NaN marks missing cells: the flags that assume there are none stay off. And no flag must be left to inheritance:
    # Numba compiles a function with the flags of whoever calls it first, and a fused multiply-add changes the last bit.
    options: dict[str, Any] = {
        "nogil": True,
        "error_model": "numpy",
        "inline": "always" if inline else "never",
        "fastmath": {"reassoc", "nsz", "contract"} if reorder else False,
    }

    def wrap(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # Numba found neither the package folder nor the user's cache writable
            return numba.njit(**options)(function)

    return wrap


@compiled()
def _exact(x, y, a, b, widths, metric):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Repeat :func:`tasks.distance.records.measure` for one pair, operation by operation. Metric: 0 l2, 1 l1, 2 gower."""
    total = 0.0
    mismatches = 0.0
    for j in range(x.shape[0]):
        if np.isnan(x[j]) or np.isnan(y[j]):
            if np.isnan(x[j]) != np.isnan(y[j]):
                mismatches += 1.0
        else:
            step = abs(x[j] - y[j]) / widths[j]
            if metric == 0:
                step = step * step
            elif metric == 2:
                step = min(step, 1.0)
            total += step
    for j in range(a.shape[0]):
        if a[j] != b[j]:
            mismatches += 1.0
    total += mismatches
    if metric == 0:
        return np.sqrt(total)
    return total / (x.shape[0] + a.shape[0]) if metric == 2 else total


@compiled(inline=True)
def _limit(best, slack, metric, columns):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Return the largest float32 sum that a row at distance ``best`` or less can have."""
    if metric == 0:
        return np.float32((best + slack) * (best + slack) * (1.0 + (columns + 16) * 2.4e-7))
    return np.float32((best * (columns if metric == 2 else 1) + slack) * (1.0 + (columns + 16) * 2.4e-7))


@compiled(reorder=True, inline=True)
def _mismatch(words, leaf, lanes, word, at, flags, sums):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Add to ``sums`` the number of bytes in which the words of each row differ from the query's."""
    if words.shape[0]:
        for i in range(lanes):
            flags[i] = np.uint32(0)
        for j in range(words.shape[0]):
            own = word[at, j]
            for i in range(lanes):
                # bytes are below 128: adding 127 sets the top bit of those that differ, and carries nothing over
                flags[i] += np.uint32(np.uint32(np.uint32(words[j, leaf, i] ^ own) + _SEVENS) >> _SEVEN) & _ONES
        for i in range(lanes):
            sums[i] += np.float32(np.int32(np.uint32(flags[i] * _ONES) >> _TOP))


@compiled(inline=True)
def _count(sums, limit):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Count sums at or below a limit."""
    hits = np.int32(0)
    for i in range(sums.shape[0]):
        hits += np.int32(sums[i] <= limit)
    return hits


@compiled(reorder=True, inline=True)
def _scan(z, words, leaf, plain, q, word, at, squared, cap, limit, sums, flags):  # type: ignore[no-untyped-def]  # typed by Numba
    """Fill ``sums`` with the rounded sums of one query and the rows of one leaf; return how many are within the limit.

    Stops early, with sums too low, where none can be. Loops are few and fat: setting one up costs as much as its work on a leaf.
    """
    lanes = z.shape[2]
    hits = np.int32(1)
    if squared and plain >= 4 and 1 <= words.shape[0] <= 2:
        second = words.shape[0] - 1
        mask = _ONES if second else np.uint32(0)
        e, f = word[at, 0], word[at, second]
        a, b, c, d = q[at, 0], q[at, 1], q[at, 2], q[at, 3]
        hits = np.int32(0)
        for i in range(lanes):
            bits = np.uint32(np.uint32(np.uint32(words[0, leaf, i] ^ e) + _SEVENS) >> _SEVEN) & _ONES
            bits += np.uint32(np.uint32(np.uint32(words[second, leaf, i] ^ f) + _SEVENS) >> _SEVEN) & mask
            s, t, u, v = z[leaf, 0, i] - a, z[leaf, 1, i] - b, z[leaf, 2, i] - c, z[leaf, 3, i] - d
            r = np.float32(np.int32(np.uint32(bits * _ONES) >> _TOP)) + (s * s + t * t + u * u + v * v)
            sums[i] = r
            hits += np.int32(r <= limit)
        j = 4
    else:
        for i in range(lanes):
            sums[i] = np.float32(0.0)
        _mismatch(words, leaf, lanes, word, at, flags, sums)
        j = 0
    if squared:
        while hits and j + 4 <= plain:
            a, b, c, d = q[at, j], q[at, j + 1], q[at, j + 2], q[at, j + 3]
            hits = np.int32(0)
            for i in range(lanes):
                s, t, u, v = z[leaf, j, i] - a, z[leaf, j + 1, i] - b, z[leaf, j + 2, i] - c, z[leaf, j + 3, i] - d
                r = sums[i] + (s * s + t * t + u * u + v * v)
                sums[i] = r
                hits += np.int32(r <= limit)
            j += 4
        if not hits or (j and j == q.shape[1]):
            return hits
        while j < plain:
            a = q[at, j]
            for i in range(lanes):
                s = z[leaf, j, i] - a
                sums[i] += s * s
            j += 1
    else:
        while j + 2 <= plain:
            a, b = q[at, j], q[at, j + 1]
            for i in range(lanes):
                s, t = abs(z[leaf, j, i] - a), abs(z[leaf, j + 1, i] - b)
                sums[i] += (s if s < cap else cap) + (t if t < cap else cap)
            j += 2
        while j < plain:
            a = q[at, j]
            for i in range(lanes):
                s = abs(z[leaf, j, i] - a)
                sums[i] += s if s < cap else cap
            j += 1
    while j < q.shape[1]:
        a = q[at, j]
        for i in range(lanes):
            s = z[leaf, j, i] - a
            s = s * s if squared else min(abs(s), cap)
            if np.isnan(s):
                s = np.float32(0.0) if np.isnan(a) and np.isnan(z[leaf, j, i]) else np.float32(1.0)
            sums[i] += s
        j += 1
    return _count(sums, limit)


@compiled(reorder=True, inline=True)
def _bound(low, high, absent, block, offset, q, state, at, squared, cap, sums, missed):  # type: ignore[no-untyped-def]  # typed by Numba
    """Fill ``sums`` with lower bounds on the sums of one query and every row in each box of one block."""
    width = low.shape[2]
    zero = np.float32(0.0)
    for i in range(width):
        sums[i] = zero
        missed[i] = np.uint16(0)
    for j in range(q.shape[1]):
        a = q[at, j]
        if not np.isnan(a):
            for i in range(width):
                s = low[block, j, i] - a
                t = a - high[block, j, i]
                s = s if s > t else t
                s = s if s > zero else zero
                sums[i] += s * s if squared else (s if s < cap else cap)
    for j in range(offset.shape[0]):
        row = offset[j] + state[at, j]
        for i in range(width):
            missed[i] += absent[block, row, i]
    for i in range(width):
        sums[i] += np.float32(missed[i])


@compiled()
def _settle(leaf, at, k, row, x, a, y, b, widths, metric, starts, rows, slack, sums, distances, indices):  # type: ignore[no-untyped-def]  # typed by Numba
    """Measure the promising rows of a leaf exactly and put them, with their copies, among the k closest where they belong."""
    columns = x.shape[1] + a.shape[1]
    lanes = sums.shape[0]
    limit = _limit(distances[at, k - 1], slack, metric, columns)
    for i in range(lanes):
        unique = row[leaf * lanes + i]
        if sums[i] > limit or unique < 0:
            continue
        d = _exact(x[at], y[unique], a[at], b[unique], widths, metric)
        for member in range(starts[unique], starts[unique + 1]):
            found = rows[member]
            place = k - 1
            if d > distances[at, place] or (d == distances[at, place] and found > indices[at, place]):
                break
            while place > 0 and (d < distances[at, place - 1] or (d == distances[at, place - 1] and found < indices[at, place - 1])):
                distances[at, place] = distances[at, place - 1]
                indices[at, place] = indices[at, place - 1]
                place -= 1
            distances[at, place] = d
            indices[at, place] = found
        limit = _limit(distances[at, k - 1], slack, metric, columns)


@compiled(reorder=True)
def prune(task, begin, stop, k, distances, indices):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Search queries ``begin`` to ``stop``, skipping boxes; return how many leaves were scanned."""
    q, state, z, words, word, row, x, a, y, b = task.q, task.state, task.z, task.words, task.word, task.row, task.x, task.a, task.y, task.b
    low, high, absent, offset, widths, starts, rows = task.low, task.high, task.absent, task.offset, task.widths, task.starts, task.rows
    group_low, group_high, group_absent = task.group_low, task.group_high, task.group_absent
    own_slack, group_slack = task.slack, task.group_slack
    metric, plain, cap, squared, columns = task.metric, task.plain, task.cap, task.metric == 0, x.shape[1] + a.shape[1]
    blocks, width = group_low.shape[2], low.shape[2]
    far, far_missed = np.empty(blocks, np.float32), np.empty(blocks, np.uint16)
    bounds, missed = np.empty(width, np.float32), np.empty(width, np.uint16)
    sums, flags = np.empty(z.shape[2], np.float32), np.empty(z.shape[2], np.uint32)
    visited = 0
    for at in range(begin, stop):
        _bound(group_low, group_high, group_absent, 0, offset, q, state, at, squared, cap, far, far_missed)
        home = task.home[at]
        for group_turn in range(blocks + 1):
            # the group the query falls into first, the others in their order
            block = home if group_turn == 0 else group_turn - 1
            slack = own_slack[at] + group_slack[block]
            limit = _limit(distances[at, k - 1], slack, metric, columns)
            if (group_turn and block == home) or far[block] > limit:
                continue
            _bound(low, high, absent, block, offset, q, state, at, squared, cap, bounds, missed)
            best = 0
            if group_turn == 0:
                for i in range(width):
                    if bounds[i] < bounds[best]:
                        best = i
            for turn in range(width):
                # at home the most promising leaf first: it changes places with the first one
                i = turn if group_turn else best if turn == 0 else 0 if turn == best else turn
                if bounds[i] > limit:
                    continue
                visited += 1
                leaf = block * width + i
                if _scan(z, words, leaf, plain, q, word, at, squared, cap, limit, sums, flags):
                    _settle(leaf, at, k, row, x, a, y, b, widths, metric, starts, rows, slack, sums, distances, indices)
                    limit = _limit(distances[at, k - 1], slack, metric, columns)
    return visited


@compiled(reorder=True)
def sweep(task, begin, stop, k, distances, indices):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Search queries ``begin`` to ``stop`` through every leaf: where boxes overlap, looking at them is lost time."""
    q, z, words, word, row, x, a, y, b = task.q, task.z, task.words, task.word, task.row, task.x, task.a, task.y, task.b
    widths, starts, rows, own_slack, leaf_slack = task.widths, task.starts, task.rows, task.slack, task.leaf_slack
    metric, plain, cap, squared, columns = task.metric, task.plain, task.cap, task.metric == 0, x.shape[1] + a.shape[1]
    sums, flags = np.empty(z.shape[2], np.float32), np.empty(z.shape[2], np.uint32)
    leaves = (y.shape[0] + z.shape[2] - 1) // z.shape[2]  # those behind only fill up the last group
    for first in range(0, leaves, TILE):
        for at in range(begin, stop):
            for leaf in range(first, min(first + TILE, leaves)):
                slack = own_slack[at] + leaf_slack[leaf]
                limit = _limit(distances[at, k - 1], slack, metric, columns)
                if _scan(z, words, leaf, plain, q, word, at, squared, cap, limit, sums, flags):
                    _settle(leaf, at, k, row, x, a, y, b, widths, metric, starts, rows, slack, sums, distances, indices)


@compiled(reorder=True, inline=True)
def _promising(products, half, words, start, word, at, limit):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Count rows within half the limit, of categorical columns the first eight only."""
    hits = np.int32(0)
    size = products.shape[0]
    if words.shape[0] == 0:
        for i in range(size):
            hits += np.int32(half[i] - products[i] <= limit)
    else:
        second = min(1, words.shape[0] - 1)
        mask = _ONES if second else np.uint32(0)
        a, b = word[at, 0], word[at, second]
        one, other = words[0, start : start + size], words[second, start : start + size]
        for i in range(size):
            flags = np.uint32(np.uint32(np.uint32(one[i] ^ a) + _SEVENS) >> _SEVEN) & _ONES
            flags += np.uint32(np.uint32(np.uint32(other[i] ^ b) + _SEVENS) >> _SEVEN) & mask
            mismatches = np.float32(np.int32(np.uint32(flags * _ONES) >> _TOP))
            hits += np.int32(np.float32(0.5) * mismatches + (half[i] - products[i]) <= limit)
    return hits


@compiled(inline=True)
def _product_limit(best, slack, halves, p, columns):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Return the largest float32 sum, computed by products, of a row at distance ``best`` or less, and the part rounding has in it."""
    # rounding of a product of p terms, of both halves and of their sums: less than (p + 12) times 8 units of the halves
    extra = (p + 12) * 4.8e-7 * halves
    return ((best + slack) * (best + slack) + extra) * (1.0 + (columns + 16) * 2.4e-7), extra


@compiled(reorder=True)
def screen(products, task, begin, first, k, distances, indices):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Search queries ``begin`` on through leaves ``first`` on, given the inner products of their shadows (l2, no gaps)."""
    words, word, row, x, a, y, b = task.words, task.word, task.row, task.x, task.a, task.y, task.b
    widths, starts, rows, own_slack, leaf_slack = task.widths, task.starts, task.rows, task.slack, task.leaf_slack
    own_half, leaf_half = task.own_half, task.leaf_half
    p, columns, lanes, size = x.shape[1], x.shape[1] + a.shape[1], task.z.shape[2], products.shape[1]
    last = first + size // lanes
    start = first * lanes
    half = task.half[start : start + size]
    flat = words.reshape(words.shape[0], words.shape[1] * lanes)
    most_slack, most_half = leaf_slack[first:last].max(), leaf_half[first:last].max()
    sums, flags = np.empty(lanes, np.float32), np.empty(lanes, np.uint32)
    for r in range(products.shape[0]):
        at = begin + r
        best = distances[at, k - 1]
        limit, extra = _product_limit(best, own_slack[at] + most_slack, own_half[at] + most_half, p, columns)
        if not _promising(products[r], half, flat, start, word, at, np.float32(0.5 * limit - own_half[at] + extra)):
            continue
        own = np.float32(own_half[at])
        for leaf in range(first, last):
            left = (leaf - first) * lanes
            # views: their indices are seen to start at 0, so the loops vectorise
            part, half_part = products[r, left : left + lanes], half[left : left + lanes]
            slack = own_slack[at] + leaf_slack[leaf]
            limit, extra = _product_limit(distances[at, k - 1], slack, own_half[at] + leaf_half[leaf], p, columns)
            for i in range(lanes):
                sums[i] = np.float32(2.0) * (half_part[i] + own - part[i])
            _mismatch(words, leaf, lanes, word, at, flags, sums)
            if _count(sums, np.float32(limit)):
                # the exact pass judges by its own limit: the room for this one's rounding is taken out of the sums
                for i in range(lanes):
                    sums[i] -= np.float32(1.01 * extra)
                _settle(leaf, at, k, row, x, a, y, b, widths, 0, starts, rows, slack, sums, distances, indices)


@compiled(reorder=True)
def collect(task, begin, stop, best, found_counts):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """List every distinct row at exactly distance ``best`` of queries ``begin`` to ``stop``."""
    q, state, z, words, word, row, x, a, y, b = task.q, task.state, task.z, task.words, task.word, task.row, task.x, task.a, task.y, task.b
    low, high, absent, offset, widths = task.low, task.high, task.absent, task.offset, task.widths
    group_low, group_high, group_absent = task.group_low, task.group_high, task.group_absent
    metric, plain, cap, squared, columns = task.metric, task.plain, task.cap, task.metric == 0, x.shape[1] + a.shape[1]
    blocks, width, lanes = group_low.shape[2], low.shape[2], z.shape[2]
    far, far_missed = np.empty(blocks, np.float32), np.empty(blocks, np.uint16)
    bounds, missed = np.empty(width, np.float32), np.empty(width, np.uint16)
    sums, flags = np.empty(lanes, np.float32), np.empty(lanes, np.uint32)
    found = np.empty(2 * (stop - begin) + 16, np.int64)
    size = 0
    for at in range(begin, stop):
        before = size
        _bound(group_low, group_high, group_absent, 0, offset, q, state, at, squared, cap, far, far_missed)
        for block in range(blocks):
            if far[block] > _limit(best[at], task.slack[at] + task.group_slack[block], metric, columns):
                continue
            _bound(low, high, absent, block, offset, q, state, at, squared, cap, bounds, missed)
            for i in range(width):
                leaf = block * width + i
                limit = _limit(best[at], task.slack[at] + task.leaf_slack[leaf], metric, columns)
                if bounds[i] > limit:
                    continue
                if not _scan(z, words, leaf, plain, q, word, at, squared, cap, limit, sums, flags):
                    continue
                for lane in range(lanes):
                    unique = row[leaf * lanes + lane]
                    if unique >= 0 and sums[lane] <= limit and _exact(x[at], y[unique], a[at], b[unique], widths, metric) == best[at]:
                        if size == found.shape[0]:
                            larger = np.empty(2 * size, np.int64)
                            larger[:size] = found
                            found = larger
                        found[size] = unique
                        size += 1
        found_counts[at] = size - before
    return found[:size]
