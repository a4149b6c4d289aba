"""Compiled loops. Imported only where a problem is large enough to pay for loading Numba.

The float32 loops may be reordered by the compiler (they only filter, within proven slack); :func:`_exact` may not.
"""

from __future__ import annotations

import numpy as np

from tasks.distance.boxes import GROUP, LEAF
from tasks.distance.lanes import REST, count, gappy_squares, gappy_steps, lowest, mismatches, rest_of_row, room, squares, steps, sum_at
from tasks.numerics.compiled import compiled

TILE = 16_384  # bytes of shadows that all queries of a block pass by before the next: half of a small level-1 cache
FEW = 4  # rows of a leaf that are finished one by one


@compiled
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


@compiled(inline=True)
def _scan(tables, shape, leaf, at, begin, few, squared, cap, limit, sums):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Fill ``sums`` with rounded sums of one query and the rows of one leaf, ``begin`` columns at first.

    Returns a mask of the rows whose sum is within the limit, and the number of columns without gaps that are in the sums: all of them,
    or fewer where no more than ``few`` rows are left (rest_of_row adds what is missing).
    """
    z, q, codes, state, _ = tables
    plain, columns, categories, states = shape
    mismatches(codes, leaf * categories * LEAF, state, at * states, categories, sums)
    base, query_at, done, mask = leaf * columns * LEAF, at * columns, 0, np.uint64(0)
    more = begin
    while True:
        if squared:
            mask = squares(z, base + done * LEAF, q, query_at + done, more, cap, limit, sums)
        else:
            mask = steps(z, base + done * LEAF, q, query_at + done, more, cap, limit, sums)
        done += more
        if done == plain or count(mask) <= few:
            break
        more = REST
    if mask and plain < columns:
        gaps = columns - plain
        if squared:
            mask = gappy_squares(z, base + plain * LEAF, q, query_at + plain, gaps, cap, limit, sums)
        else:
            mask = gappy_steps(z, base + plain * LEAF, q, query_at + plain, gaps, cap, limit, sums)
    return mask, done


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


@compiled
def _place(at, k, unique, x, a, y, b, widths, metric, starts, rows, distances, indices):  # type: ignore[no-untyped-def]  # typed by Numba
    """Measure a row exactly and put it, with its copies, among the k closest where they belong."""
    d = _exact(x[at], y[unique], a[at], b[unique], widths, metric)
    for member in range(starts[unique], starts[unique + 1]):
        row = rows[member]
        place = k - 1
        if d > distances[at, place] or (d == distances[at, place] and row > indices[at, place]):
            break
        while place > 0 and (d < distances[at, place - 1] or (d == distances[at, place - 1] and row < indices[at, place - 1])):
            distances[at, place] = distances[at, place - 1]
            indices[at, place] = indices[at, place - 1]
            place -= 1
        distances[at, place] = d
        indices[at, place] = row


@compiled(inline=True)
def _next(tables, leaf, at, plain, left, mask, limit, sums):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Return the first position in the mask whose sum, once ``left`` columns are added, is within the limit, or -1; and what follows."""
    nearest = -1
    while mask and nearest < 0:
        lane = lowest(mask)
        mask &= mask - np.uint64(1)
        position = leaf * LEAF + lane
        total = sum_at(sums, lane)
        if left:
            total += rest_of_row(tables[4], (position + 1) * plain - left, tables[1], (at + 1) * plain - left, left)
        if total <= limit:
            nearest = position
    return nearest, mask


@compiled(inline=True)
def _least(plain):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Return the fewest columns to begin with: what is left must be whole steps."""
    return plain if plain < REST else REST if plain % REST == 0 else plain % REST


@compiled(inline=True)
def _begin(mask, done, begin, least):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Return how many columns to begin the next leaf with: about as many as leave few rows."""
    if done > begin:
        return done
    return begin - REST if begin > least and 4 * count(mask) <= FEW else begin


@compiled
def prune(task, begin, stop, k, distances, indices):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Search queries ``begin`` to ``stop``, skipping boxes; return how many leaves were scanned."""
    q, state, offset, metric, cap, squared = task.q, task.state, task.offset, task.metric, task.cap, task.metric == 0
    low, high, absent, own_slack, group_slack = task.low, task.high, task.absent, task.slack, task.group_slack
    group_low, group_high, group_absent = task.group_low, task.group_high, task.group_absent
    tables = task.z.ctypes.data, q.ctypes.data, task.codes.ctypes.data, state.ctypes.data, task.flat.ctypes.data
    row, x, y, a, b, widths, starts, rows = task.row, task.x, task.y, task.a, task.b, task.widths, task.starts, task.rows
    plain, shape = task.plain, (task.plain, q.shape[1], task.codes.shape[1], state.shape[1])
    columns, least, few = x.shape[1] + a.shape[1], _least(plain), FEW if squared and plain == q.shape[1] else 0
    blocks, width = group_low.shape[2], low.shape[2]
    far, far_missed = np.empty(blocks, np.float32), np.empty(blocks, np.uint16)
    bounds, missed = np.empty(width, np.float32), np.empty(width, np.uint16)
    sums = room()
    visited = 0
    for at in range(begin, stop):
        _bound(group_low, group_high, group_absent, 0, offset, q, state, at, squared, cap, far, far_missed)
        home, first = task.home[at], least
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
                mask, done = _scan(tables, shape, leaf, at, first, few, squared, cap, limit, sums)
                first = _begin(mask, done, first, least)
                while mask:
                    position, mask = _next(tables, leaf, at, plain, plain - done, mask, limit, sums)
                    if position >= 0 and row[position] >= 0:
                        _place(at, k, row[position], x, a, y, b, widths, metric, starts, rows, distances, indices)
                        limit = _limit(distances[at, k - 1], slack, metric, columns)
    return visited


@compiled
def sweep(task, begin, stop, k, distances, indices):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Search queries ``begin`` to ``stop`` through every leaf: where boxes overlap, looking at them is lost time."""
    q, state, metric, cap, own_slack, leaf_slack = task.q, task.state, task.metric, task.cap, task.slack, task.leaf_slack
    squared = metric == 0
    tables = task.z.ctypes.data, q.ctypes.data, task.codes.ctypes.data, state.ctypes.data, task.flat.ctypes.data
    row, x, y, a, b, widths, starts, rows = task.row, task.x, task.y, task.a, task.b, task.widths, task.starts, task.rows
    plain, shape = task.plain, (task.plain, q.shape[1], task.codes.shape[1], state.shape[1])
    columns, least = x.shape[1] + a.shape[1], _least(plain)
    few = FEW if squared and plain == q.shape[1] else 0
    sums, first = room(), np.full(stop - begin, least)
    leaves = (y.shape[0] + LEAF - 1) // LEAF  # those behind only fill up the last group
    tile = max(1, TILE // (LEAF * (4 * q.shape[1] + a.shape[1])))
    # queries are neighbours of each other: near leaves first, so that limits fall early
    home = task.home[begin] * GROUP
    for turn in range(0, leaves, tile):
        for at in range(begin, stop):
            for step in range(turn, min(turn + tile, leaves)):
                leaf = home + step if home + step < leaves else home + step - leaves
                slack = own_slack[at] + leaf_slack[leaf]
                limit = _limit(distances[at, k - 1], slack, metric, columns)
                start = first[at - begin]
                mask, done = _scan(tables, shape, leaf, at, start, few, squared, cap, limit, sums)
                first[at - begin] = _begin(mask, done, start, least)
                while mask:
                    position, mask = _next(tables, leaf, at, plain, plain - done, mask, limit, sums)
                    if position >= 0 and row[position] >= 0:
                        _place(at, k, row[position], x, a, y, b, widths, metric, starts, rows, distances, indices)
                        limit = _limit(distances[at, k - 1], slack, metric, columns)


@compiled
def collect(task, begin, stop, best, found_counts):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """List every distinct row at exactly distance ``best`` of queries ``begin`` to ``stop``."""
    q, state, offset, metric, cap, squared = task.q, task.state, task.offset, task.metric, task.cap, task.metric == 0
    low, high, absent = task.low, task.high, task.absent
    group_low, group_high, group_absent = task.group_low, task.group_high, task.group_absent
    tables = task.z.ctypes.data, q.ctypes.data, task.codes.ctypes.data, state.ctypes.data, task.flat.ctypes.data
    row, x, y, a, b, widths = task.row, task.x, task.y, task.a, task.b, task.widths
    own_slack, group_slack, leaf_slack = task.slack, task.group_slack, task.leaf_slack
    shape = (task.plain, q.shape[1], task.codes.shape[1], state.shape[1])
    columns, least = x.shape[1] + a.shape[1], _least(task.plain)
    blocks, width = group_low.shape[2], low.shape[2]
    far, far_missed = np.empty(blocks, np.float32), np.empty(blocks, np.uint16)
    bounds, missed = np.empty(width, np.float32), np.empty(width, np.uint16)
    sums = room()
    buffer = np.empty(2 * (stop - begin) + 16, np.int64)
    size = 0
    for at in range(begin, stop):
        before = size
        _bound(group_low, group_high, group_absent, 0, offset, q, state, at, squared, cap, far, far_missed)
        for block in range(blocks):
            if far[block] > _limit(best[at], own_slack[at] + group_slack[block], metric, columns):
                continue
            _bound(low, high, absent, block, offset, q, state, at, squared, cap, bounds, missed)
            for i in range(width):
                leaf = block * width + i
                limit = _limit(best[at], own_slack[at] + leaf_slack[leaf], metric, columns)
                if bounds[i] > limit:
                    continue
                mask, _ = _scan(tables, shape, leaf, at, least, 0, squared, cap, limit, sums)
                while mask:
                    unique = row[leaf * LEAF + lowest(mask)]
                    mask &= mask - np.uint64(1)
                    if unique < 0 or _exact(x[at], y[unique], a[at], b[unique], widths, metric) != best[at]:
                        continue
                    if size == buffer.shape[0]:
                        larger = np.empty(2 * size, np.int64)
                        larger[:size] = buffer
                        buffer = larger
                    buffer[size] = unique
                    size += 1
        found_counts[at] = size - before
    return buffer[:size]
