"""The compiled growth of boosted trees: derivatives summed by bin, the leaf that gains most split first.

Sums are made, splits tried and gains compared in the order scikit-learn takes, so that its trees are a test of these.
One file: Numba keeps the machine code of a function, with all it calls, until the file of that function changes.
"""

from __future__ import annotations

import numpy as np

from tasks.nuisance.walk import MISSING
from tasks.numerics.compiled import compiled

KINDS = {"continuous": 0, "binary": 1, "count": 2}
_LEAST_HESSIAN = 1e-3  # of a side of a split
_SUPPORT = 10.0  # rows a category needs in a node to be ranked, and by which its rank is shrunk


@compiled
def _gradients(kind, y, w, raw, g, h):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Fill the first and second derivatives of each row's loss by its sum of leaves, rounded to float32."""
    for i in range(y.shape[0]):
        if kind == 0:
            first, second = raw[i] - y[i], 1.0
        elif kind == 2:
            second = np.exp(raw[i])
            first = second - y[i]
        elif raw[i] > -37.0:
            odds = np.exp(-raw[i])
            first = ((1.0 - y[i]) - y[i] * odds) / (1.0 + odds)
            second = odds / ((1.0 + odds) * (1.0 + odds))
        else:
            second = np.exp(raw[i])
            first = second - y[i]
        row_weight = w[i] if w.shape[0] else 1.0
        g[i], h[i] = np.float32(row_weight * first), np.float32(row_weight * second)


@compiled
def _tally(cells, offset, rows, g, h, near, flat, sums_g, sums_h, counts):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Sum the derivatives of some rows by column and bin; ``near`` is room for theirs, next to one another.

    Where every second derivative is one (``flat``) their sums are the counts.
    """
    sums_g[:], counts[:] = 0.0, 0
    for i in range(rows.shape[0]):
        near[i, 0] = g[np.uint64(rows[i])]
    if flat:
        _tally_flat(cells, offset, rows, near, sums_g, counts)
        for at in range(counts.shape[0]):
            sums_h[at] = counts[at]
    else:
        sums_h[:] = 0.0
        for i in range(rows.shape[0]):
            near[i, 1] = h[np.uint64(rows[i])]
        _tally_both(cells, offset, rows, near, sums_g, sums_h, counts)


@compiled
def _tally_both(cells, offset, rows, near, sums_g, sums_h, counts):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Sum both derivatives and count rows by column and bin.

    Unsigned places spare the test for negative ones, and two columns at a time keep the adder busy while it waits for one bin's sum.
    """
    for j in range(0, cells.shape[0] - 1, 2):
        first, second = np.uint64(offset[j]), np.uint64(offset[j + 1])
        for i in range(rows.shape[0]):
            row = np.uint64(rows[i])
            at, other = first + np.uint64(cells[j, row]), second + np.uint64(cells[j + 1, row])
            sums_g[at] += np.float64(near[i, 0])
            sums_g[other] += np.float64(near[i, 0])
            sums_h[at] += np.float64(near[i, 1])
            sums_h[other] += np.float64(near[i, 1])
            counts[at] += 1
            counts[other] += 1
    if cells.shape[0] & 1:
        first = np.uint64(offset[cells.shape[0] - 1])
        for i in range(rows.shape[0]):
            at = first + np.uint64(cells[cells.shape[0] - 1, np.uint64(rows[i])])
            sums_g[at] += np.float64(near[i, 0])
            sums_h[at] += np.float64(near[i, 1])
            counts[at] += 1


@compiled
def _tally_flat(cells, offset, rows, near, sums_g, counts):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Sum first derivatives and count rows by column and bin, as :func:`_tally_both` does."""
    for j in range(0, cells.shape[0] - 1, 2):
        first, second = np.uint64(offset[j]), np.uint64(offset[j + 1])
        for i in range(rows.shape[0]):
            row = np.uint64(rows[i])
            at, other = first + np.uint64(cells[j, row]), second + np.uint64(cells[j + 1, row])
            sums_g[at] += np.float64(near[i, 0])
            sums_g[other] += np.float64(near[i, 0])
            counts[at] += 1
            counts[other] += 1
    if cells.shape[0] & 1:
        first = np.uint64(offset[cells.shape[0] - 1])
        for i in range(rows.shape[0]):
            at = first + np.uint64(cells[cells.shape[0] - 1, np.uint64(rows[i])])
            sums_g[at] += np.float64(near[i, 0])
            counts[at] += 1


@compiled
def _total(sums):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Sum one column's bins, the missing ones last of 256, in eight lanes by halves: as NumPy sums an array."""
    halves = np.zeros(2)
    lanes = np.zeros(8)
    last = sums.shape[0] - 1
    for half in range(2):
        lanes[:] = 0.0
        for i in range(128):
            at = 128 * half + i
            lanes[i & 7] += sums[at] if at < last else sums[last] if at == MISSING else 0.0
        halves[half] = ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]))
    return halves[0] + halves[1]


@compiled
def _scan(order, size, turn, g, h, n, all_g, all_h, all_n, value, rules, best):  # type: ignore[no-untyped-def]  # typed by Numba
    """Try the splits after each of the first bins in an order; keep in ``best`` the gain, place and near side of a better one.

    ``turn`` tells which side the bins that were passed are on: 0 left, 1 right.
    """
    fewest, l2 = rules[0], rules[1]
    near_g, near_h, near_n = 0.0, 0.0, 0
    improved = False
    for i in range(size):
        at = order[i]
        near_n += n[at]
        near_h += h[at]
        near_g += g[at]
        far_n, far_h, far_g = all_n - near_n, all_h - near_h, all_g - near_g
        if near_n < fewest or near_h < _LEAST_HESSIAN:
            continue
        if far_n < fewest or far_h < _LEAST_HESSIAN:
            break
        left_g, left_h, right_g, right_h = (far_g, far_h, near_g, near_h) if turn else (near_g, near_h, far_g, far_h)
        left, right = -left_g / (left_h + l2 + 1e-15), -right_g / (right_h + l2 + 1e-15)
        gain = all_g * value - left_g * left - right_g * right
        if gain > best[0] and gain > 0.0:
            improved = True
            best[0], best[1], best[2], best[3], best[4] = gain, i, left_g, left_h, far_n if turn else near_n
    return improved


@compiled
def _rank(g, h, size, all_n, all_h, order):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Order the categories that have rows enough by their shrunk mean; return how many there are."""
    used = 0
    means = np.empty(size)
    for at in range(size):
        if h[at] * (all_n / all_h) >= _SUPPORT:
            mean = g[at] / (h[at] + _SUPPORT)
            place = used
            # of equal means the later comes first
            while place > 0 and means[place - 1] >= mean:
                means[place], order[place] = means[place - 1], order[place - 1]
                place -= 1
            means[place], order[place] = mean, at
            used += 1
    return used


@compiled
def _seek_category(order, size, gap, g, h, n, all_g, all_h, all_n, value, rules, best):  # type: ignore[no-untyped-def]  # typed by Numba
    """Keep the best split of ranked categories; return the first and last place of those on its left."""
    low, high = 0, -1
    used = _rank(g, h, size + int(gap), all_n, all_h, order)
    if used > 1:
        # from either end to the middle, so that bins with few rows stay on the right
        middle = (used + 1) // 2
        if _scan(order, middle, 0, g, h, n, all_g, all_h, all_n, value, rules, best):
            high = int(best[1])
        turned = order[:used][::-1].copy()
        if _scan(turned, middle - 1, 0, g, h, n, all_g, all_h, all_n, value, rules, best):
            low, high = used - 1 - int(best[1]), used - 1
    return low, high


@compiled
def _seek_number(order, size, gap, g, h, n, all_g, all_h, all_n, value, rules, best):  # type: ignore[no-untyped-def]  # typed by Numba
    """Keep the best split of ordered bins; return the last bin on its left and whether missing cells go there too."""
    high, missing = -1, False
    for at in range(size):
        order[at] = at
    # missing cells on the right: they may be all that is there
    if _scan(order, size - 1 + int(gap), 0, g, h, n, all_g, all_h, all_n, value, rules, best):
        high = int(best[1])
    if gap:
        turned = order[1:size][::-1].copy()
        if _scan(turned, size - 1, 1, g, h, n, all_g, all_h, all_n, value, rules, best):
            high, missing = size - 2 - int(best[1]), True
    return high, missing


@compiled
def _seek(offset, gaps, category, sums_g, sums_h, counts, leaf, rules, bins, split):  # type: ignore[no-untyped-def]  # typed by Numba
    """Find the best split of a leaf: ``split`` gets gain, column, and g, h and rows of the left side, ``bins`` what goes left."""
    all_g, all_h, all_n, value = leaf[0], leaf[1], int(leaf[2]), leaf[4]
    split[0] = -1.0
    order, best = np.empty(257, np.int64), np.empty(5)
    for j in range(gaps.shape[0]):
        size = offset[j + 1] - offset[j] - 1
        g, h, n = sums_g[offset[j] : offset[j + 1]], sums_h[offset[j] : offset[j + 1]], counts[offset[j] : offset[j + 1]]
        best[0] = -1.0
        low, high, missing = 0, -1, False
        if category[j]:
            low, high = _seek_category(order, size, gaps[j], g, h, n, all_g, all_h, all_n, value, rules, best)
        else:
            high, missing = _seek_number(order, size, gaps[j], g, h, n, all_g, all_h, all_n, value, rules, best)
        if high < 0 or best[0] <= split[0]:
            continue
        split[0], split[1], split[2], split[3], split[4] = best[0], j, best[2], best[3], best[4]
        bins[:] = np.uint32(0)
        for i in range(low, high + 1):
            at = order[i] if order[i] < size else MISSING
            bins[at >> 5] |= np.uint32(1) << np.uint32(at & 31)
        if missing or (not gaps[j] and 2 * best[4] > all_n):
            # in a column without gaps a missing cell will follow the larger side
            bins[MISSING >> 5] |= np.uint32(1) << np.uint32(MISSING & 31)


@compiled
def _part(cells, size, bins, rows, spare):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Put the rows that go left first, either side in its order; return how many they are."""
    sides = np.empty(256, np.uint64)
    for at in range(256):
        place = at if at < size else MISSING
        sides[at] = (bins[place >> 5] >> np.uint32(place & 31)) & np.uint32(1)
    left, right = np.uint64(0), np.uint64(0)
    for i in range(rows.shape[0]):
        # both sides are written and one of them counts: a branch on data would be guessed wrong every other time
        side = sides[cells[np.uint64(rows[i])]]
        rows[left], spare[right] = rows[i], rows[i]
        left += side
        right += np.uint64(1) - side
    rows[left:] = spare[:right]
    return np.int64(left)


@compiled
def _deal(sums, at, new, smaller_first):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Turn the parent's sums at ``at`` and the smaller side's at ``new`` into those of the left and the right side."""
    for i in range(sums.shape[1]):
        small = sums[new, i]
        rest = sums[at, i] - small
        sums[at, i] = small if smaller_first else rest
        sums[new, i] = rest if smaller_first else small


@compiled
def _before(leaf, count, row):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Count the leaves whose rows come before a row."""
    place = 0
    for other in range(count):
        place += int(leaf[other, 3] < row)
    return place


@compiled
def _grow_one(cells, offset, gaps, category, g, h, rows, near, flat, most, rules, leaf, column, bins, span):  # type: ignore[no-untyped-def]  # typed by Numba
    """Grow one tree: part ``rows`` among its leaves, fill the leaves and the splits; return how many leaves there are."""
    fewest, l2 = rules[0], rules[1]
    spare = np.empty(rows.shape[0], np.int32)
    sums_g, sums_h = np.empty((most, offset[-1])), np.empty((most, offset[-1]))
    counts = np.empty((most, offset[-1]), np.int64)
    best, best_bins = np.empty((most, 5)), np.empty((most, 8), np.uint32)
    _tally(cells, offset, rows, g, h, near, flat, sums_g[0], sums_h[0], counts[0])
    leaf[0, 0], leaf[0, 1] = _total(sums_g[0, : offset[1]]), _total(sums_h[0, : offset[1]])
    leaf[0, 2], leaf[0, 3], leaf[0, 4] = rows.shape[0], 0, 0.0
    best[0, 0] = -1.0
    if rows.shape[0] >= 2 * fewest and leaf[0, 1] >= _LEAST_HESSIAN:
        _seek(offset, gaps, category, sums_g[0], sums_h[0], counts[0], leaf[0], rules, best_bins[0], best[0])
    count = 1
    while count < most:
        at = np.argmax(best[:count, 0])
        if best[at, 0] <= 0.0:
            break
        new = count
        j, first, size = int(best[at, 1]), int(leaf[at, 3]), int(leaf[at, 2])
        row_ids = rows[first : first + size]
        left = _part(cells[j], offset[j + 1] - offset[j] - 1, best_bins[at], row_ids, spare)
        column[new - 1], bins[new - 1] = j, best_bins[at]
        # the rows where the sides start and end become leaves once the tree is grown
        span[new - 1, 0], span[new - 1, 1], span[new - 1, 2] = first, first + left, first + size
        leaf[new, 0], leaf[new, 1] = leaf[at, 0] - best[at, 2], leaf[at, 1] - best[at, 3]
        leaf[new, 2], leaf[new, 3] = size - left, first + left
        leaf[at, 0], leaf[at, 1], leaf[at, 2] = best[at, 2], best[at, 3], left
        for side in (at, new):
            leaf[side, 4] = -leaf[side, 0] / (leaf[side, 1] + l2 + 1e-15)
            best[side, 0] = -1.0
        count += 1
        if count == most or (left < 2 * fewest and size - left < 2 * fewest):
            continue
        # the smaller side is counted; the larger one is what that leaves of their parent
        part = row_ids[:left] if left < size - left else row_ids[left:]
        _tally(cells, offset, part, g, h, near, flat, sums_g[new], sums_h[new], counts[new])
        for sums in (sums_g, sums_h):
            _deal(sums, at, new, left < size - left)
        _deal(counts, at, new, left < size - left)
        for side in (at, new):
            if leaf[side, 2] >= 2 * fewest:
                _seek(offset, gaps, category, sums_g[side], sums_h[side], counts[side], leaf[side], rules, best_bins[side], best[side])
    return count


@compiled
def grow(cells, offset, gaps, category, y, w, kind, raw, rate, most, rules, column, bins, span, value, ends):  # type: ignore[no-untyped-def]  # typed by Numba
    """Grow trees one after another, adding each to ``raw``; fill splits, leaves, and where every tree's end.

    Shapes: ``cells`` (c, n), a column's last bin being that of missing cells; ``offset`` (c + 1,), where a column's bins start;
    ``ends`` (trees + 1, 2). ``rules`` are the fewest rows of a leaf and the penalty; ``most`` is of leaves.
    A leaf is sum of g, sum of h, rows, first row, value.
    """
    n = y.shape[0]
    g, h, near = np.empty(n, np.float32), np.empty(n, np.float32), np.empty((n, 2), np.float32)
    leaf, rows_of = np.empty((most, 5)), np.empty((most, 3), np.int64)
    flat = kind == 0 and w.shape[0] == 0
    s, v = 0, 0
    for tree in range(ends.shape[0] - 1):
        _gradients(kind, y, w, raw, g, h)
        rows = np.arange(n).astype(np.int32)
        count = _grow_one(cells, offset, gaps, category, g, h, rows, near, flat, most, rules, leaf, column[s:], bins[s:], rows_of)
        for at in range(count):
            first = int(leaf[at, 3])
            worth = leaf[at, 4] * rate
            value[v + _before(leaf, count, first)] = worth
            for i in range(first, first + int(leaf[at, 2])):
                raw[np.uint64(rows[i])] += worth
        for at in range(count - 1):
            for side in range(3):
                span[s + at, side] = _before(leaf, count, rows_of[at, side])
        s += count - 1
        v += count
        ends[tree + 1, 0], ends[tree + 1, 1] = s, v
