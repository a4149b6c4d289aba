"""A column's distinct values, sampled by hash with the exact number of their rows: enough to recognise identifiers."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.contract.rng import UInt64, mix, salt
from tasks.numerics.distinct import distinct

Int64 = npt.NDArray[np.int64]

SIZE = 1024
#: Rows from which on a column may be an identifier, and the share of missing cells that an identifier may have.
FEWEST_ROWS, MOST_MISSING = 20, 0.1
#: Repeated values needed, and the largest chance that one treatment each is a coincidence.
_FEWEST_REPEATED, _CHANCE = 20, 1e-6


class Sampled(NamedTuple):
    """The distinct values of the smallest hashes (Bar-Yossef et al. 2002, doi:10.1007/3-540-45726-7_1), with their rows.

    A value among the smallest hashes of a table is among those of every part it lies in, so counts are exact and merging is associative
    and commutative to the bit.

    Attributes
    ----------
    hashes : ndarray of uint64, shape (k,), k <= 1024
        Ascending.
    counts : ndarray of int64, shape (k,)
        Rows of each value.
    low, high : ndarray of uint64, shape (k,)
        Smallest and largest hash of the treatment's labels among these rows; equal where all have one label.
    """

    hashes: UInt64
    counts: Int64
    low: UInt64
    high: UInt64


_NO_HASH = np.empty(0, dtype=np.uint64)
NO_SAMPLE = Sampled(_NO_HASH, np.empty(0, dtype=np.int64), _NO_HASH, _NO_HASH)


def sampled(hashes: UInt64, labels: UInt64) -> Sampled:
    """Sample a column's values.

    Parameters
    ----------
    hashes : ndarray of uint64, shape (n,)
        Of known cells, by :func:`cell_hashes`.
    labels : ndarray of uint64, shape (n,)
        Of the treatment in the same rows.
    """
    if len(hashes) > 8 * SIZE:  # most values of many can't be among the smallest: sort few
        some = distinct(hashes[: 8 * SIZE])
        if len(some) > SIZE:
            kept = hashes <= some[SIZE - 1]
            hashes, labels = hashes[kept], labels[kept]
    return _kept(hashes, np.ones(len(hashes), dtype=np.int64), labels, labels)


def merge(left: Sampled, right: Sampled) -> Sampled:
    """Return the sample of both."""
    return _kept(*(np.concatenate(pair) for pair in zip(left, right)))


def _kept(hashes: UInt64, counts: Int64, low: UInt64, high: UInt64) -> Sampled:
    if not len(hashes):
        return NO_SAMPLE
    order = np.argsort(hashes, kind="stable")
    hashes = hashes[order]
    first = np.flatnonzero(np.concatenate(([True], hashes[1:] != hashes[:-1])))
    return Sampled(
        hashes[first][:SIZE],
        np.add.reduceat(counts[order], first)[:SIZE],
        np.minimum.reduceat(low[order], first)[:SIZE],
        np.maximum.reduceat(high[order], first)[:SIZE],
    )


def is_unique(sample: Sampled, present: int, missing: int) -> bool:
    """Whether every known row of a column has a value of its own: exact up to 1024 rows, else seen where one value in 300 repeats."""
    enough = present >= FEWEST_ROWS and missing <= MOST_MISSING * (present + missing)
    return enough and bool((sample.counts == 1).all())


def repeats_by_unit(sample: Sampled, share: float) -> int:
    """Return the rows per value, rounded, of a column whose repeated values have one treatment each, 0 of any other.

    Parameters
    ----------
    sample : Sampled
    share : float
        Of treated rows: tells whether one treatment each may be a coincidence.
    """
    repeated = sample.counts >= 2
    if repeated.sum() < max(_FEWEST_REPEATED, len(sample.counts) / 2) or (sample.low != sample.high)[repeated].any():
        return 0
    sizes = sample.counts[repeated].astype(np.float64)
    chance = np.log(share**sizes + (1.0 - share) ** sizes).sum()
    return round(float(sample.counts.mean())) if chance < math.log(_CHANCE) else 0


def distinct_values(sample: Sampled) -> float:
    """Return the number of distinct values: exact below 1024, else with a relative error of about 3 %."""
    if len(sample.hashes) < SIZE:
        return float(len(sample.hashes))
    return float((SIZE - 1) / (float(sample.hashes[-1]) / 2.0**64))


def cell_hashes(values: pa.Array) -> UInt64:
    """Hash the cells of an array without null.

    Parameters
    ----------
    values : pyarrow.Array, shape (n,)
        Booleans, numbers, decimals, texts, dates or timestamps.

    Returns
    -------
    ndarray of uint64, shape (n,)
    """
    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return text_hashes(values)
    if pa.types.is_decimal(kind):
        return text_hashes(values.cast(pa.string()))
    if pa.types.is_temporal(kind):
        values = values.cast(pa.int32()).cast(pa.int64()) if pa.types.is_date32(kind) else values.cast(pa.int64())
    elif pa.types.is_boolean(kind):
        values = values.cast(pa.int64())
    numbers = values.to_numpy(zero_copy_only=False)
    wide = numbers.astype(np.float64) if numbers.dtype.kind == "f" else numbers.astype(np.int64, copy=False)
    return mix(np.ascontiguousarray(wide).view(np.uint64), salt("distinct"))


def text_hashes(texts: pa.Array) -> UInt64:
    """Hash texts without null, shape (n,): a polynomial over their bytes, mixed."""
    whole = texts.cast(pa.large_string())
    if not len(whole):
        return _NO_HASH
    offsets = np.frombuffer(whole.buffers()[1], dtype=np.int64)[whole.offset : whole.offset + len(whole) + 1]
    start = int(offsets[0])
    data = whole.buffers()[2]
    raw = np.frombuffer(data, dtype=np.uint8)[start : int(offsets[-1])] if data is not None else np.empty(0, dtype=np.uint8)
    lengths = np.diff(offsets)
    places = np.arange(len(raw), dtype=np.int64) - np.repeat(offsets[:-1] - start, lengths)
    with np.errstate(over="ignore"):
        terms = mix(raw.astype(np.uint64) + np.uint64(256) * places.astype(np.uint64), salt("byte"))
        sums = np.concatenate((np.zeros(1, dtype=np.uint64), np.cumsum(terms, dtype=np.uint64)))
        totals = sums[offsets[1:] - start] - sums[offsets[:-1] - start]
    return mix(totals, salt("distinct"))
