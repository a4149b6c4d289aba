"""Vectors of more rows than memory should hold: NumPy's own functions, applied block by block.

A :class:`Blocked` stands where an array of n rows would: operators and ufuncs give another one, and nothing is read until a reduction
(a sum, a mean, a quantile) asks for a number. Then one block of every column that matters is in memory at a time. A statistic written for
arrays is so the reduction over partitions that it has to be (:mod:`tasks.contract.reduction`), by NumPy's protocols for array-likes (NEP 13
and NEP 18). What would need all rows at once is refused with a TypeError, never read by accident.
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Array = npt.NDArray[Any]
ArrayT = TypeVar("ArrayT", bound=Array)
Memo = dict[int, Array]
#: Bits that one pass of a selection settles.
_DIGIT = 16
#: Most rows of a block: what is computed of one stays in the processor's cache.
BLOCK = 32_768


class Blocked(np.lib.mixins.NDArrayOperatorsMixin):
    """A vector of n rows, or a matrix of n rows and few columns, in blocks.

    Parameters
    ----------
    compute : callable
        Returns a block by its number; gets the memo of what the pass has computed of that block.
    count : int
        Blocks, 1 at least.
    sizes : tuple of int, optional
        Rows of every block; None where only a pass can tell.
    columns : int, optional
        Of a matrix; None of a vector.
    """

    __hash__ = object.__hash__

    def __init__(
        self, compute: Callable[[int, Memo], Array], count: int, sizes: tuple[int, ...] | None = None, columns: int | None = None
    ) -> None:
        self._compute, self._count, self._columns, self._sizes = compute, count, columns, sizes

    # -- blocks --------------------------------------------------------------------------------------------------
    def block(self, number: int, memo: Memo | None = None) -> Array:
        """Return one block; what several expressions have in common is computed once for a memo."""
        memo = {} if memo is None else memo
        if id(self) not in memo:
            memo[id(self)] = self._compute(number, memo)
        return memo[id(self)]

    def blocks(self) -> Iterator[Array]:
        """Yield the blocks in their order."""
        return (self.block(number) for number in range(self._count))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Rows of every block."""
        if self._sizes is None:
            self._sizes = tuple(len(block) for block in self.blocks())
        return self._sizes

    def __len__(self) -> int:
        return sum(self.sizes)

    @property
    def size(self) -> int:
        """Number of cells."""
        return len(self) * (1 if self._columns is None else self._columns)

    @property
    def ndim(self) -> int:
        """1 of a vector, 2 of a matrix."""
        return 1 if self._columns is None else 2

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, and columns of a matrix."""
        return (len(self),) if self._columns is None else (len(self), self._columns)

    def __array__(self, *_: object, **__: object) -> Array:
        raise TypeError("a table in blocks must not be read as a whole")

    # -- expressions ---------------------------------------------------------------------------------------------
    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """Apply an element-wise function block by block; a product of two long vectors is their sum."""
        if method != "__call__" or "out" in options:
            return NotImplemented
        if ufunc is np.matmul:
            return _product(*inputs)
        return apply(functools.partial(ufunc, **options), *inputs)

    def __array_function__(self, function: Callable[..., Any], _: object, given: Sequence[Any], options: Mapping[str, Any]) -> Any:
        """Do what is known how to be done block by block."""
        by_blocks = _FUNCTIONS.get(function.__name__)
        return NotImplemented if by_blocks is None else by_blocks(*given, **options)

    def __getitem__(self, key: Any) -> Any:
        """Return the first rows as an array, masked rows, or columns of a matrix."""
        if isinstance(key, slice) and key.start is None and key.step is None and isinstance(key.stop, int) and key.stop >= 0:
            return self._head(key.stop)
        if isinstance(key, Blocked):
            return Blocked(lambda number, memo: self.block(number, memo)[key.block(number, memo)], self._count, None, self._columns)
        if isinstance(key, tuple) and key == (slice(None), None):
            return apply(lambda block: block[:, None], self, columns=1)
        if isinstance(key, tuple) and key[0] == slice(None) and isinstance(key[1], int):
            return Blocked(lambda number, memo: self.block(number, memo)[key], self._count, self._sizes)
        raise TypeError(f"rows of a table in blocks must be chosen by a mask, or be its first; got {type(key).__name__}")

    def _head(self, rows: int) -> Array:
        taken, wanted = [self.block(0)[:0]], rows
        for number in range(self._count):
            if wanted <= 0:
                break
            taken.append(self.block(number)[:wanted])
            wanted -= len(taken[-1])
        return np.concatenate(taken)

    @property
    def T(self) -> Transposed:  # noqa: N802 - NumPy's name
        """The matrix with rows and columns swapped: for products."""
        return Transposed(self)

    def astype(self, dtype: Any, **_: object) -> Blocked:
        """Return the same values of another type."""
        return apply(lambda block: block.astype(dtype, copy=False), self)

    # -- reductions ----------------------------------------------------------------------------------------------
    def sum(self) -> Any:
        """Return the sum of all cells."""
        return sums(self)[0]

    def mean(self) -> float:
        """Return the mean of all cells."""
        return float(sums(self)[0]) / self.size

    def std(self, ddof: int = 0) -> float:
        """Return the standard deviation."""
        return float(np.sqrt(((self - self.mean()) ** 2).sum() / (self.size - ddof)))

    def min(self) -> Any:
        """Return the least cell."""
        return min(block.min() for block in self.blocks() if block.size)

    def max(self) -> Any:
        """Return the largest cell."""
        return max(block.max() for block in self.blocks() if block.size)

    def all(self) -> bool:
        """Return whether all cells are true."""
        return all(bool(block.all()) for block in self.blocks())

    def any(self) -> bool:
        """Return whether a cell is true."""
        return any(bool(block.any()) for block in self.blocks())


class Transposed(np.lib.mixins.NDArrayOperatorsMixin):
    """A matrix in blocks with rows and columns swapped: what stands left in a product that sums over rows."""

    def __init__(self, matrix: Blocked) -> None:
        self.matrix = matrix

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **_: Any) -> Any:
        """Multiply."""
        return _product(*inputs) if ufunc is np.matmul and method == "__call__" else NotImplemented


def apply(function: Callable[..., Array], *inputs: Any, columns: int | None = None) -> Blocked:
    """Return a function of blocked vectors and of plain numbers or small arrays, block by block; rows stay in their places."""
    blocked = [each for each in inputs if isinstance(each, Blocked)]
    first = blocked[0]

    def compute(number: int, memo: Memo) -> Array:
        return function(*(each.block(number, memo) if isinstance(each, Blocked) else each for each in inputs))

    widths = [each._columns for each in blocked if each._columns is not None]
    sizes = next((each._sizes for each in blocked if each._sizes is not None), None)
    return Blocked(compute, first._count, sizes, columns or max(widths, default=0) or None)


def pieces(rows: Sequence[int]) -> list[tuple[int, slice]]:
    """Return the blocks of partitions with so many rows each: the number of the partition, and the rows of it."""
    return [(part, slice(start, min(start + BLOCK, size))) for part, size in enumerate(rows) for start in range(0, size, BLOCK)]


def blocked(read: Callable[[int], Array], rows: Sequence[int]) -> Array:
    """Return the vector, or matrix of few columns, whose partitions are read by their number; the last one read is kept."""
    at, last = pieces(rows), functools.lru_cache(maxsize=1)(read)
    width = last(0).shape[1:]
    sizes = tuple(piece.stop - piece.start for _, piece in at)
    return cast(Array, Blocked(lambda number, _: last(at[number][0])[at[number][1]], len(at), sizes, width[0] if width else None))


def in_blocks(values: ArrayT) -> ArrayT:
    """Return an array in blocks: what is computed of it is never there as a whole."""
    return cast(ArrayT, blocked(lambda _: values, (len(values),)))


def mapped(function: Callable[[ArrayT], Array], values: ArrayT) -> Array:
    """Return a function of an array, or of every block of a vector in blocks."""
    return cast(Array, apply(function, values)) if isinstance(values, Blocked) else function(values)


def sums(*values: Any) -> list[Any]:
    """Return the sums of several vectors over the same rows, in one pass where they are in blocks."""
    first = values[0]
    if not isinstance(first, Blocked):
        return [np.sum(each) for each in values]
    totals: list[Any] = [0.0] * len(values)
    for number in range(first._count):
        memo: Memo = {}
        totals = [total + np.sum(each.block(number, memo)) for total, each in zip(totals, values, strict=True)]
    return totals


def kept(*values: ArrayT) -> tuple[ArrayT, ...]:
    """Return vectors that are computed once: those in blocks go to a file without a name, which ends with the last of them."""
    if not isinstance(values[0], Blocked):
        return values
    blocked, file = [cast(Blocked, each) for each in values], Spool()
    for number in range(blocked[0]._count):
        memo: Memo = {}
        for name, each in enumerate(blocked):
            file.write(name, number, each.block(number, memo))
    results = [
        Blocked(functools.partial(file.read, name), each._count, file.sizes(name), each._columns) for name, each in enumerate(blocked)
    ]
    return cast(tuple[ArrayT, ...], tuple(results))


def floats(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return values as numbers, without a copy where they are."""
    return values.astype(np.float64, copy=False) if isinstance(values, Blocked) else np.asarray(values, dtype=np.float64)


def blocks_of(values: ArrayT) -> Iterator[ArrayT]:
    """Yield the blocks of a vector, one of an array."""
    return values.blocks() if isinstance(values, Blocked) else iter((values,))


def chosen(places: Array, values: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Return of each row the value of the vector whose place it names."""
    result = values[0]
    for place in range(1, len(values)):
        result = np.where(places == place, values[place], result)
    return result


def sums_by(groups: npt.NDArray[np.uint64], values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the sum of the values of each group, in the order of the groups' numbers; one number for each group is in memory."""
    names: Array = np.empty(0, dtype=np.uint64)
    totals: Array = np.empty(0)
    for group, cells in zip(blocks_of(groups), blocks_of(values), strict=True):
        new, place = np.unique(group, return_inverse=True)
        sums_here = np.bincount(place, weights=cells, minlength=len(new))
        if not len(names):
            names, totals = new, sums_here
            continue
        names, place = np.unique(np.concatenate((names, new)), return_inverse=True)
        totals = np.bincount(place, weights=np.concatenate((totals, sums_here)), minlength=len(names))
    return totals


class Spool:
    """Blocks of columns in a file without a name."""

    def __init__(self, folder: Path | None = None) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - it ends with the last vector that lies in it
        self._places: dict[tuple[Any, int], tuple[int, tuple[int, ...], np.dtype[Any]]] = {}
        self._end = 0

    def write(self, name: Any, number: int, block: Array) -> None:
        """Write a block of a column."""
        data = np.ascontiguousarray(block)
        self._places[name, number] = (self._end, data.shape, data.dtype)
        self._file.seek(self._end)
        self._end += self._file.write(data.tobytes())
        self._file.flush()

    def read(self, name: Any, number: int, _: Memo) -> Array:
        """Read a block of a column."""
        start, shape, dtype = self._places[name, number]
        return np.frombuffer(os.pread(self._file.fileno(), int(np.prod(shape)) * dtype.itemsize, start), dtype=dtype).reshape(shape)

    def sizes(self, name: Any) -> tuple[int, ...]:
        """Return the rows of a column's blocks."""
        return tuple(self._places[key][1][0] for key in sorted(key for key in self._places if key[0] == name))


class BlockedTable:
    """Columns of a table in partitions, as :func:`tasks.contract.columns.nuisances_of` and its like read them off a table in memory.

    Parameters
    ----------
    read : callable
        Returns some columns of a partition by its number.
    rows : sequence of int
        Rows of every partition.
    names : sequence of str
        Columns.
    folder : Path, optional
        Where columns that are in use lie meanwhile, as they are, in a file without a name.
    """

    def __init__(
        self, read: Callable[[int, list[str]], pa.Table], rows: Sequence[int], names: Sequence[str], folder: Path | None = None
    ) -> None:
        self._read, self._rows, self._pieces, self.column_names = read, tuple(rows), pieces(rows), list(names)
        self._spool = Spool(folder)
        self._columns: dict[str, Blocked] = {}

    def column(self, name: str) -> BlockedColumn:
        """Return a column."""
        if name not in self._columns:
            values, last = np.empty(0), -1
            for number, (part, piece) in enumerate(self._pieces):
                if part != last:
                    values, last = self._read(part, [name]).column(name).to_numpy(), part
                self._spool.write(name, number, values[piece])
            sizes = tuple(piece.stop - piece.start for _, piece in self._pieces)
            self._columns[name] = Blocked(functools.partial(self._spool.read, name), len(sizes), sizes)
        return BlockedColumn(self._columns[name])

    @property
    def num_rows(self) -> int:
        """Rows of all partitions."""
        return sum(self._rows)


class BlockedColumn:
    """A column of a table in partitions."""

    def __init__(self, values: Blocked) -> None:
        self._values = values

    def to_numpy(self) -> Array:
        """Return its values, in blocks."""
        return cast(Array, self._values)


# -- functions of NumPy, by name ---------------------------------------------------------------------------------------
def _product(left: Any, right: Any) -> Any:
    """Return a matrix product: a sum over rows where both sides have all rows, else the rows' own products."""
    if isinstance(left, Transposed):
        left = left.matrix
    elif isinstance(left, Blocked) and left.ndim == 2:
        return Blocked(
            lambda number, memo: left.block(number, memo) @ right,
            left._count,
            left._sizes,
            None if np.ndim(right) == 1 else np.shape(right)[1],
        )
    total: Any = 0.0
    for number in range(left._count):
        memo: Memo = {}
        total = total + left.block(number, memo).T @ right.block(number, memo)
    return total


def _average(values: Any, weights: Any = None) -> float:
    if weights is None:
        return float(np.mean(values))
    total, weight = sums(values * weights, weights + 0.0 * values if not isinstance(weights, Blocked) else weights)
    return float(total / weight)


def _stacked(vectors: Sequence[Any]) -> Blocked:
    widths = [each.shape[1] if isinstance(each, Blocked) and each.ndim == 2 else 1 for each in vectors]
    return apply(lambda *blocks: np.column_stack(blocks), *vectors, columns=sum(widths))


def _filled(like: Blocked, value: Any, dtype: Any = None) -> Blocked:
    return apply(lambda block: np.full_like(block, value, dtype=dtype), like)


def _histogram(values: Blocked, bins: int, weights: Any = None, **options: Any) -> tuple[Array, Array]:
    total, edges = np.zeros(bins, dtype=np.intp if weights is None else np.float64), np.empty(0)
    for number in range(values._count):
        memo: Memo = {}
        weight = None if weights is None else weights.block(number, memo)
        counts, edges = np.histogram(values.block(number, memo), bins=bins, weights=weight, **options)
        total = total + counts
    return total, edges


def _quantile(values: Blocked, levels: Any) -> Array:
    """Return exact quantiles, linear between order statistics."""
    at = np.asarray(levels, dtype=np.float64) * (len(values) - 1)
    below = np.floor(at).astype(np.int64)
    above = np.minimum(below + 1, len(values) - 1)
    ordered = order_statistics(values, np.concatenate((np.atleast_1d(below), np.atleast_1d(above))))
    low, high = (part.reshape(at.shape) for part in np.split(ordered, 2))
    return np.asarray(low + (high - low) * (at - below))


def order_statistics(values: Blocked, ranks: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the cells of given ranks, from 0, by four passes that each settle sixteen bits of all of them.

    Parameters
    ----------
    values : Blocked
        Finite numbers.
    ranks : ndarray of int64, shape (k,)

    Returns
    -------
    ndarray of float64, shape (k,)
    """
    prefixes, left = np.zeros(len(ranks), dtype=np.uint64), ranks.copy()
    for shift in range(64 - _DIGIT, -1, -_DIGIT):
        distinct, place = np.unique(prefixes, return_inverse=True)
        counts = np.zeros((len(distinct), 1 << _DIGIT), dtype=np.int64)
        for block in values.blocks():
            codes = _ordered_bits(block)
            for row, prefix in zip(counts, distinct, strict=True):
                inside = codes if shift + _DIGIT == 64 else codes[codes >> np.uint64(shift + _DIGIT) == prefix]
                digit = (inside >> np.uint64(shift)) & np.uint64((1 << _DIGIT) - 1)
                np.add.at(row, digit.astype(np.intp), 1)
        passed = np.cumsum(counts, axis=1)[place]
        digits = np.array([np.searchsorted(row, rank, side="right") for row, rank in zip(passed, left, strict=True)])
        left = left - np.array([row[digit - 1] if digit else 0 for row, digit in zip(passed, digits, strict=True)])
        prefixes = (prefixes << np.uint64(_DIGIT)) | digits.astype(np.uint64)
    sign = np.uint64(1 << 63)
    return np.where(prefixes & sign, prefixes ^ sign, ~prefixes).view(np.float64)


def _ordered_bits(block: Array) -> npt.NDArray[np.uint64]:
    """Return unsigned numbers in the order of the floats."""
    bits, sign = np.asarray(block, dtype=np.float64).view(np.uint64), np.uint64(1 << 63)
    return np.where(bits & sign, ~bits, bits | sign)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sum": lambda values: values.sum(),
    "mean": lambda values: values.mean(),
    "std": lambda values, ddof=0: values.std(ddof),
    "average": _average,
    "min": lambda values: values.min(),
    "amin": lambda values: values.min(),
    "max": lambda values: values.max(),
    "amax": lambda values: values.max(),
    "ptp": lambda values: values.max() - values.min(),
    "all": lambda values: values.all(),
    "any": lambda values: values.any(),
    "count_nonzero": lambda values: int(sum(int(np.count_nonzero(block)) for block in values.blocks())),
    "where": lambda mask, one, other: apply(np.where, mask, one, other),
    "clip": lambda values, low, high: apply(np.clip, values, low, high),
    "isin": lambda values, allowed: apply(lambda block: np.isin(block, allowed), values),
    "ones_like": lambda values, dtype=None: _filled(values, 1, dtype),
    "zeros_like": lambda values, dtype=None: _filled(values, 0, dtype),
    "full_like": _filled,
    "column_stack": _stacked,
    "histogram": _histogram,
    "quantile": _quantile,
}
