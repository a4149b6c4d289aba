"""A numeric column in bounded memory: extremes, decimals, distinct values and a histogram that merge exactly."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.contract.rng import UInt64, mix, salt

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

BUCKETS = 8192
EDGE = 5
SKETCH = 1024
MANY_DECIMALS = 7
_SIGN = np.int64(0x7FFFFFFFFFFFFFFF)


class Numbers(NamedTuple):
    """What is known of a column's finite values.

    Every field is a function of the set of values with their counts, never of the order or the cut in which they
    were seen, so :func:`merge` is associative and commutative to the bit.

    Attributes
    ----------
    finite, infinite : int
        Finite and infinite values.
    buckets, counts : ndarray of int64, shape (b,), b <= 8192
        Histogram over order-preserving bit patterns of float64 cut after ``shift`` bits.
    shift : int
        0 where the buckets are the exact distinct values; else the smallest cut with at most 8192 buckets in use.
        A bucket is then at most 2**(shift - 52) of its value wide.
    lowest, highest : ndarray of float64, shape (up to 5,)
        Five lowest and five highest distinct values, ascending.
    lowest_counts, highest_counts : ndarray of int64
        Their rows.
    decimals : int
        Digits behind the point that every value has at most; 7 stands for more than 6.
    sketch : ndarray of uint64, shape (up to 1024,)
        Smallest hashes of distinct values (Bar-Yossef et al. 2002, doi:10.1007/3-540-45726-7_1), for counting them.
    """

    finite: int
    infinite: int
    buckets: Int64
    counts: Int64
    shift: int
    lowest: Float64
    lowest_counts: Int64
    highest: Float64
    highest_counts: Int64
    decimals: int
    sketch: UInt64


_NO_INT = np.empty(0, dtype=np.int64)
_NO_FLOAT = np.empty(0, dtype=np.float64)
NONE = Numbers(0, 0, _NO_INT, _NO_INT, 0, _NO_FLOAT, _NO_INT, _NO_FLOAT, _NO_INT, 0, np.empty(0, dtype=np.uint64))


def measure(values: Float64, single: bool = False) -> Numbers:
    """Measure values.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        Cells; NaN is missing and left out.
    single : bool
        Whether the source stores them in single precision; decimals are then judged at that precision.

    Returns
    -------
    Numbers
    """
    present = values[~np.isnan(values)]
    finite = present[np.isfinite(present)] + 0.0
    unique, counts = np.unique(finite, return_counts=True)
    counts = counts.astype(np.int64)
    buckets, sums, shift = _coarsened(_ordered(unique), counts, 0)
    hashes = mix(unique.view(np.uint64), salt("distinct"))
    return Numbers(
        finite=len(finite),
        infinite=len(present) - len(finite),
        buckets=buckets,
        counts=sums,
        shift=shift,
        lowest=unique[:EDGE].copy(),
        lowest_counts=counts[:EDGE].copy(),
        highest=unique[-EDGE:].copy(),
        highest_counts=counts[-EDGE:].copy(),
        decimals=_decimals(unique, single),
        sketch=np.sort(np.partition(hashes, SKETCH)[:SKETCH] if len(hashes) > SKETCH else hashes),
    )


def merge(left: Numbers, right: Numbers) -> Numbers:
    """Return what is known of both."""
    shift = max(left.shift, right.shift)
    keys = np.concatenate((left.buckets >> (shift - left.shift), right.buckets >> (shift - right.shift)))
    buckets, counts, shift = _coarsened(*_summed(keys, np.concatenate((left.counts, right.counts))), shift)
    lowest, lowest_counts = _edge(left.lowest, left.lowest_counts, right.lowest, right.lowest_counts)
    highest, highest_counts = _edge(left.highest, left.highest_counts, right.highest, right.highest_counts)
    return Numbers(
        finite=left.finite + right.finite,
        infinite=left.infinite + right.infinite,
        buckets=buckets,
        counts=counts,
        shift=shift,
        lowest=lowest[:EDGE],
        lowest_counts=lowest_counts[:EDGE],
        highest=highest[-EDGE:],
        highest_counts=highest_counts[-EDGE:],
        decimals=max(left.decimals, right.decimals),
        sketch=np.union1d(left.sketch, right.sketch)[:SKETCH],
    )


def exact_values(numbers: Numbers) -> dict[float, int] | None:
    """Return the distinct values with their rows, None where there are more than 8192."""
    if numbers.shift:
        return None
    return dict(zip(_floats(numbers.buckets).tolist(), numbers.counts.tolist(), strict=True))


def distinct(numbers: Numbers) -> float:
    """Return the number of distinct values: exact up to 8192, else estimated with a relative error of about 3 %."""
    if not numbers.shift:
        return float(len(numbers.buckets))
    return float((SKETCH - 1) / (float(numbers.sketch[-1]) / 2.0**64))


def quantile(numbers: Numbers, share: float) -> float:
    """Return the quantile of a share in (0, 1), up to the width of a bucket."""
    cumulated = np.cumsum(numbers.counts)
    place = int(np.searchsorted(cumulated, share * cumulated[-1]))
    middle = (numbers.buckets[place] << numbers.shift) + ((1 << numbers.shift) >> 1)
    return float(_floats(np.array([middle], dtype=np.int64))[0])


def _ordered(values: Float64) -> Int64:
    """Return bit patterns that sort as the values do."""
    bits = values.view(np.int64)
    return np.asarray(bits ^ ((bits >> 63) & _SIGN), dtype=np.int64)


def _floats(keys: Int64) -> Float64:
    return np.asarray((keys ^ ((keys >> 63) & _SIGN)).view(np.float64))


def _coarsened(keys: Int64, counts: Int64, shift: int) -> tuple[Int64, Int64, int]:
    """Cut sorted keys by as few more bits as leave at most ``BUCKETS`` of them."""
    if len(keys) <= BUCKETS:
        return keys.copy(), counts.copy(), shift
    low, high = 1, 63
    while low < high:
        middle = (low + high) // 2
        if 1 + np.count_nonzero(np.diff(keys >> middle)) <= BUCKETS:
            high = middle
        else:
            low = middle + 1
    buckets, sums = _summed(keys >> low, counts)
    return buckets, sums, shift + low


def _summed(keys: Int64, counts: Int64) -> tuple[Int64, Int64]:
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    if not len(keys):
        return keys, counts
    first = np.concatenate(([0], np.flatnonzero(np.diff(keys)) + 1))
    return keys[first], np.asarray(np.add.reduceat(counts, first), dtype=np.int64)


def _edge(left: Float64, left_counts: Int64, right: Float64, right_counts: Int64) -> tuple[Float64, Int64]:
    keys, counts = _summed(_ordered(np.concatenate((left, right))), np.concatenate((left_counts, right_counts)))
    return _floats(keys), counts


def _decimals(values: Float64, single: bool) -> int:
    # one value with many digits decides: look at a few before looking at all
    for some in (values[:64], values):
        left = some
        for digits in range(MANY_DECIMALS):
            with np.errstate(over="ignore", invalid="ignore"):
                rounded = np.round(left, digits)
            if single:
                rounded, compared = rounded.astype(np.float32), left.astype(np.float32)
                left = left[rounded != compared]
            else:
                left = left[rounded != left]
            if not len(left):
                break
        else:
            return MANY_DECIMALS
    return digits
