"""The rows of one leaf as one vector: what the compiled loops of :mod:`tasks.distance.kernels` do to all of them at once.

Written as LLVM vectors, not as loops that a compiler may or may not turn into some: sums stay in registers while columns pass by, on any
processor LLVM knows. The float32 sums may be added in any order; they only filter. Cells are named by the address of a table and a position
in it: Numba would count references to an array at every leaf. Machine code that Numba has stored for the kernels holds these functions
too, and is stale where only this file has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped,unused-ignore]
from llvmlite.binding import get_host_cpu_features  # type: ignore[import-untyped,unused-ignore]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tasks.distance.boxes import LEAF

REST = 8  # cells of one row that are added at a time
PART = 16  # rows of a leaf whose products with some points are summed at once
BITS = 64 // PART  # points that a mask tells apart
POINTS = 2 * BITS if get_host_cpu_features().get("avx512f") else BITS  # as many as the registers hold the sums of

_LOOSE = ("reassoc", "nsz", "contract")  # NaN marks missing cells: the flags that assume there are none stay off
_INDEX, _PLACE, _FLOAT, _BYTE = ir.IntType(64), ir.IntType(32), ir.FloatType(), ir.IntType(8)
_SUMS, _BYTES, _SOME = ir.VectorType(_FLOAT, LEAF), ir.VectorType(_BYTE, LEAF), ir.VectorType(_FLOAT, REST)
_PARTS = ir.VectorType(_FLOAT, PART)
_SIZE = {_FLOAT: 4, _BYTE: 1}  # bytes, and the alignment that any array guarantees

Term = Callable[[Any, Any, Any, Any], Any]


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def lowest(_typing, _mask):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Return the number of the lowest set bit."""
    return types.int64(types.uint64), lambda _context, builder, _signature, values: builder.cttz(values[0], cgutils.true_bit)


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def count(_typing, _mask):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Count the set bits."""
    return types.int64(types.uint64), lambda _context, builder, _signature, values: builder.ctpop(values[0])


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def room(_typing):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Return the address of room for the sums of one leaf, kept until the calling function returns."""

    def build(_context, builder, _signature, _values):  # type: ignore[no-untyped-def]
        return builder.ptrtoint(cgutils.alloca_once(builder, _SUMS), _INDEX)

    return types.int64(), build


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def sum_at(_typing, _sums, _lane):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Return the sum of one row."""
    return types.float32(types.int64, types.int64), lambda _context, builder, _signature, values: _load(
        builder, values[0], values[1], _FLOAT
    )


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def mismatches(_typing, _codes, _at, _point, _point_at, _columns, _sums):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Set ``sums`` to the number of columns, at most 255, in which each row's code differs from the query's."""

    def build(context, builder, _signature, values):  # type: ignore[no-untyped-def]
        codes, at, point, point_at, columns, sums = values
        total = cgutils.alloca_once_value(builder, ir.Constant(_BYTES, None))
        with cgutils.for_range(builder, columns, intp=_INDEX) as loop:
            cells = _load(builder, codes, _column(builder, at, loop.index), _BYTES)
            same = _repeat(builder, _load(builder, point, builder.add(point_at, loop.index), _BYTE), _BYTES)
            differ = builder.zext(builder.icmp_unsigned("!=", cells, same), _BYTES)
            builder.store(builder.add(builder.load(total), differ), total)
        _keep(builder, builder.uitofp(builder.load(total), _SUMS), sums)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), build


def _adder(term: Term) -> Any:
    """Make a function that adds a term of each column to ``sums`` and returns a mask of the rows that are within the limit."""

    def add(_typing, _z, _at, _point, _point_at, _columns, _cap, _limit, _sums):  # type: ignore[no-untyped-def]  # typed by Numba
        def build(_context, builder, _signature, values):  # type: ignore[no-untyped-def]
            z, at, point, point_at, columns, cap, limit, sums = values
            total = cgutils.alloca_once_value(builder, _load(builder, sums, _INDEX(0), _SUMS))
            widest = _repeat(builder, cap, _SUMS)
            with cgutils.for_range(builder, columns, intp=_INDEX) as loop:
                cells = _load(builder, z, _column(builder, at, loop.index), _SUMS)
                same = _repeat(builder, _load(builder, point, builder.add(point_at, loop.index), _FLOAT), _SUMS)
                builder.store(builder.fadd(builder.load(total), term(builder, cells, same, widest), flags=_LOOSE), total)
            reached = builder.load(total)
            _keep(builder, reached, sums)
            return builder.bitcast(builder.fcmp_ordered("<=", reached, _repeat(builder, limit, _SUMS)), _INDEX)

        return types.uint64(*[types.int64] * 5, types.float32, types.float32, types.int64), build

    return intrinsic(add)


def _square(builder: Any, cells: Any, point: Any, _widest: Any) -> Any:
    step = builder.fsub(cells, point, flags=_LOOSE)
    return builder.fmul(step, step, flags=_LOOSE)


def _step(builder: Any, cells: Any, point: Any, widest: Any) -> Any:
    there, back = builder.fsub(cells, point), builder.fsub(point, cells)
    size = builder.select(builder.fcmp_ordered(">", there, back), there, back)
    return builder.select(builder.fcmp_ordered("<", size, widest), size, widest)


def _or_gap(term: Term) -> Term:
    """Count a missing cell against a known one as 1, two missing cells as 0."""

    def with_gaps(builder: Any, cells: Any, point: Any, widest: Any) -> Any:
        both = builder.and_(builder.fcmp_unordered("uno", cells, cells), builder.fcmp_unordered("uno", point, point))
        gap = builder.select(both, ir.Constant(_SUMS, None), _repeat(builder, _FLOAT(1.0), _SUMS))
        return builder.select(builder.fcmp_ordered("ord", cells, point), term(builder, cells, point, widest), gap)

    return with_gaps


squares, steps = _adder(_square), _adder(_step)
gappy_squares, gappy_steps = _adder(_or_gap(_square)), _adder(_or_gap(_step))


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def rest_of_row(_typing, _rows, _at, _point, _point_at, _columns):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Return the sum of squared differences of one row and the query over some columns, a multiple of ``REST`` of them."""

    def build(_context, builder, _signature, values):  # type: ignore[no-untyped-def]
        rows, at, point, point_at, columns = values
        total = cgutils.alloca_once_value(builder, ir.Constant(_SOME, None))
        with cgutils.for_range_slice(builder, _INDEX(0), columns, _INDEX(REST), _INDEX) as (column, _):
            cells, same = (_load(builder, table, builder.add(start, column), _SOME) for table, start in ((rows, at), (point, point_at)))
            builder.store(builder.fadd(builder.load(total), _square(builder, cells, same, None), flags=_LOOSE), total)
        part, width = builder.load(total), REST
        while width > 1:
            width //= 2
            low, high = (ir.Constant(ir.VectorType(_PLACE, width), list(range(start, start + width))) for start in (0, width))
            part = builder.fadd(builder.shuffle_vector(part, part, low), builder.shuffle_vector(part, part, high), flags=_LOOSE)
        return builder.extract_element(part, _PLACE(0))

    return types.float32(*[types.int64] * 5), build


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def products(_typing, _z, _at, _points, _point_at, _columns, _norms, _norm_at, _limits, _limit_at):  # type: ignore[no-untyped-def]  # typed by Numba
    """Sum norm and products of ``PART`` rows of one leaf with ``POINTS`` points; return which sums are within the points' limits.

    Cells of the points lie ``POINTS`` to a column. Bit ``PART * i + j`` of the result is set where row j is within the limit of
    point i, or of point ``i + BITS`` where there are so many.
    """

    def build(_context, builder, _signature, values):  # type: ignore[no-untyped-def]
        z, at, points, point_at, columns, norms, norm_at, limits, limit_at = values
        start = _load(builder, norms, norm_at, _PARTS)
        totals = [cgutils.alloca_once_value(builder, start) for _ in range(POINTS)]
        with cgutils.for_range(builder, columns, intp=_INDEX) as loop:
            cells = _load(builder, z, _column(builder, at, loop.index), _PARTS)
            first = builder.add(point_at, builder.mul(loop.index, _INDEX(POINTS)))
            for number, total in enumerate(totals):
                same = _repeat(builder, _load(builder, points, builder.add(first, _INDEX(number)), _FLOAT), _PARTS)
                product = builder.fmul(cells, same, flags=_LOOSE)
                builder.store(builder.fadd(builder.load(total), product, flags=_LOOSE), total)
        mask: Any = _INDEX(0)
        for number, total in enumerate(totals):
            limit = _repeat(builder, _load(builder, limits, builder.add(limit_at, _INDEX(number)), _FLOAT), _PARTS)
            within = builder.bitcast(builder.fcmp_ordered("<=", builder.load(total), limit), ir.IntType(PART))
            mask = builder.or_(mask, builder.shl(builder.zext(within, _INDEX), _INDEX(PART * (number % BITS))))
        return mask

    return types.uint64(*[types.int64] * 9), build


def _load(builder: Any, table: Any, at: Any, kind: Any) -> Any:
    """Load one cell, or a vector of neighbouring ones."""
    cell = kind.element if isinstance(kind, ir.VectorType) else kind
    where = builder.gep(builder.inttoptr(table, cell.as_pointer()), [at])
    return builder.load(builder.bitcast(where, kind.as_pointer()), align=_SIZE[cell])


def _keep(builder: Any, total: Any, sums: Any) -> None:
    builder.store(total, builder.inttoptr(sums, _SUMS.as_pointer()), align=_SIZE[_FLOAT])


def _column(builder: Any, at: Any, column: Any) -> Any:
    return builder.add(at, builder.mul(column, _INDEX(LEAF)))


def _repeat(builder: Any, value: Any, kind: Any) -> Any:
    nothing = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(nothing, value, _PLACE(0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(_PLACE, kind.count), None))
