"""Canonical rows, their content hash, and the one global order that depends on nothing but content."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.contract.columns import CLUSTER, CLUSTER_NAME, canonical_type
from tasks.contract.errors import SourceError
from tasks.contract.rng import UInt64, mix, salt
from tasks.contract.roles import Column, TableSchema
from tasks.numerics.distinct import distinct
from tasks.source.levels import pool_of
from tasks.source.sampled import cell_hashes
from tasks.source.values import as_floats, as_levels, as_names, is_text, level_number

HASH = "hash"
KEY = "key"
_MISSING_FLOAT = np.uint64(0x7FF8000000000000)
_MISSING_LEVEL = np.uint64(0)
_LOW = np.uint64(0xFFFFFFFF)


def canonical(table: pa.Table, schema: TableSchema, source_format: str) -> pa.Table:
    """Give a batch of the source its canonical form.

    Parameters
    ----------
    table : pyarrow.Table
        A batch with at least the role columns.
    schema : TableSchema
        As the inspection decided.
    source_format : str
        ``"csv"`` where the batch is text; else it is typed.

    Returns
    -------
    pyarrow.Table
        Columns w0, w1, ..., a, y of their canonical types, missing as null, rare levels pooled; rows without treatment
        left out, and those without outcome unless the schema's outcome has missing cells. Then, as far as there are such roles:
        passengers, ``e`` (1 for an event), ``c`` (uint64, hash of the cluster), ``v`` (weight), ids as texts, ``cn`` (the cluster as text).

    Raises
    ------
    SourceError
        If a cell does not fit the schema: the source has changed since it was inspected.
    """
    beside = [column for column in (schema.event, schema.cluster, schema.weight) if column is not None]
    ordered = [*schema.covariates, schema.treatment, *schema.outcomes, *schema.passengers, *beside, *schema.ids]
    arrays = []
    for column in ordered:
        kind = column.arrow().type
        values = table.column(column.name)
        try:
            if source_format != "csv" and values.type != kind:
                values = values.cast(kind)
            if column.role == "treatment":
                arrays.append(_treatment(as_levels(values, kind), schema))
            elif column.is_drawn and column.is_category:
                arrays.append(_levels(as_levels(values, kind), column, kind))
            elif column.role == "cluster":
                names = as_names(values, kind)
                hashes = np.zeros(len(names), dtype=np.uint64)
                present = names.is_valid().to_numpy(zero_copy_only=False)
                hashes[present] = cell_hashes(names.drop_null())
                arrays.append(pa.array(hashes, mask=~present))
            elif column.role == "id":
                arrays.append(as_names(values, kind).dictionary_encode())
            elif column.role in ("outcome", "event") and column.levels:
                answers = as_levels(values, kind)
                arrays.append(_recoded(answers, _codes(answers, column.levels), column).cast(pa.float64()))
            else:
                floats = as_floats(values, kind)
                arrays.append(pa.array(floats, mask=np.isnan(floats)))
        except pa.ArrowInvalid:
            raise _changed(column) from None
    whole = pa.table(arrays, schema=pa.schema([pa.field(column.id, canonical_type(column)) for column in ordered]))
    if schema.cluster is not None:
        names = as_names(table.column(schema.cluster.name), schema.cluster.arrow().type)
        whole = whole.append_column(CLUSTER_NAME, names.dictionary_encode())
    complete = ~_nulls(whole.column("a"))
    for column in schema.outcomes:
        if not column.missing:
            complete &= ~_nulls(whole.column(column.id))
    for column in (*beside, *schema.ids):
        if (_nulls(whole.column(column.id)) & complete).any():
            raise _changed(column)
    return whole if complete.all() else whole.filter(pa.array(complete))


def content_hash(table: pa.Table) -> UInt64:
    """Hash every row's content; rows of one cluster share the upper 32 bits, so that they stand together in hash order.

    Parameters
    ----------
    table : pyarrow.Table
        Canonical rows; columns ``hash`` and ``key`` are left out.

    Returns
    -------
    ndarray of uint64, shape (n,)
        Equal rows have equal hashes, whatever batch they come from and however its dictionaries are coded.
    """
    hashes = np.zeros(table.num_rows, dtype=np.uint64)
    for name in _content(table):
        hashes = mix(hashes ^ _cells(table.column(name)), salt("column", name))
    if CLUSTER in table.column_names:
        cluster = mix(_cells(table.column(CLUSTER)), salt("cluster order"))
        hashes = (cluster & ~_LOW) | (hashes & _LOW)
    return hashes


def bucket_of(hashes: UInt64, buckets: int) -> npt.NDArray[np.int64]:
    """Return the bucket of each hash: ``buckets`` contiguous ranges of the 64-bit space, in order.

    Parameters
    ----------
    hashes : ndarray of uint64, shape (n,)
    buckets : int
        In [1, 2**31].

    Returns
    -------
    ndarray of int64, shape (n,)
        In ``[0, buckets)``, not decreasing in the hash.
    """
    return np.asarray(((hashes >> np.uint64(32)) * np.uint64(buckets)) >> np.uint64(32), dtype=np.int64)


def settle(table: pa.Table) -> pa.Table:
    """Bring a bucket's rows into their final order and give each its key.

    Rows are ordered by hash, then by content; the k-th row of a hash gets ``mix(hash + k)``. The hash and the number
    k depend on content alone, so settling bucket after bucket gives the same table for any number of buckets and any
    order or cut of the input, unless one hash's rows reach into the next hash's numbers across a border of two
    buckets (for n rows, m of them equal at most: a chance of n m / 2**64).

    Parameters
    ----------
    table : pyarrow.Table
        Canonical rows with the column ``hash``.

    Returns
    -------
    pyarrow.Table
        The rows ordered, ``hash`` replaced by the distinct ``key`` (uint64), which is the last column.
    """
    names = _content(table)
    whole = table.unify_dictionaries().combine_chunks()
    hashes = np.asarray(whole.column(HASH).to_numpy(), dtype=np.uint64)
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    if len(ordered) > 1:
        order = _by_content(whole, names, order, ordered)
    keys = mix(_numbered(ordered), salt("key"))
    return whole.select(names).take(pa.array(order)).append_column(KEY, pa.array(keys, type=pa.uint64()))


def _by_content(table: pa.Table, names: list[str], order: npt.NDArray[np.intp], ordered: UInt64) -> npt.NDArray[np.intp]:
    """Order rows of equal hash by content; nearly always they are equal in content too and nothing moves."""
    shared = np.zeros(len(ordered), dtype=np.bool_)
    equal = ordered[1:] == ordered[:-1]
    shared[1:] |= equal
    shared[:-1] |= equal
    places = np.flatnonzero(shared)
    if not len(places):
        return order
    rows = table.select(names).take(pa.array(order[places]))
    cells = [_sortable(rows.column(name)) for name in names]
    same_hash = ordered[places][1:] == ordered[places][:-1]
    if all(bool((cell[1:] == cell[:-1])[same_hash].all()) for cell in cells):
        return order
    within = np.lexsort([*reversed(cells), ordered[places]])
    result = order.copy()
    result[places] = order[places][within]
    return result


def _numbered(ordered: UInt64) -> UInt64:
    """Add to each hash its number among equal hashes, and push on any that would then meet the next hash."""
    index = np.arange(len(ordered), dtype=np.int64)
    if not len(ordered):
        return ordered
    first = np.concatenate(([True], ordered[1:] != ordered[:-1]))
    start = np.maximum.accumulate(np.where(first, index, 0))
    with np.errstate(over="ignore"):
        numbered = ordered + (index - start).astype(np.uint64)
    if len(distinct(numbered)) == len(numbered):
        return numbered
    taken: set[int] = set()
    result = numbered.copy()
    for place, value in enumerate(numbered.tolist()):
        free = value
        while free in taken:
            free = (free + 1) % 2**64
        taken.add(free)
        result[place] = free
    return result


def _treatment(labels: pa.DictionaryArray, schema: TableSchema) -> pa.Array:
    return _recoded(labels, _codes(labels, schema.arms), schema.treatment)


def _codes(labels: pa.DictionaryArray, wanted: tuple[str, ...]) -> npt.NDArray[np.int8]:
    """Return for each word of a dictionary its place among the labels wanted, -1 for any other."""
    places = {label: place for place, label in enumerate(wanted)}
    return np.array([places.get(text, -1) for text in labels.dictionary.to_pylist()] or [-1], dtype=np.int8)


def _levels(values: pa.DictionaryArray, column: Column, kind: pa.DataType) -> pa.DictionaryArray:
    """Recode to the schema's levels; what is none of them was rare and goes to the pool, numbers to the nearest level."""
    places = {level: number for number, level in enumerate(column.levels)}
    pool = (column.rare_into or pool_of(column.levels)) if is_text(kind) else None
    codes = []
    for text in values.dictionary.to_pylist():
        if text in places:
            codes.append(places[text])
        elif is_text(kind):
            codes.append(places[pool] if pool is not None else -1)
        else:
            codes.append(_nearest(text, column, kind))
    recoded = _recoded(values, np.array(codes or [-1], dtype=np.int32), column)
    return pa.DictionaryArray.from_arrays(recoded, pa.array(column.levels, type=pa.string()))


def _nearest(text: str, column: Column, kind: pa.DataType) -> int:
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_boolean(inner):
        return -1
    value = level_number(text, inner)
    distances = [(abs(level_number(level, inner) - value), level_number(level, inner)) for level in column.levels]
    return distances.index(min(distances))


def _recoded(values: pa.DictionaryArray, codes: npt.NDArray[np.integer], column: Column) -> pa.Array:
    present = values.indices.is_valid().to_numpy(zero_copy_only=False)
    indices = np.asarray(values.indices.fill_null(0).to_numpy(), dtype=np.int64)
    taken = codes[indices]
    if bool((taken[present] < 0).any()):
        raise _changed(column)
    return pa.array(taken, mask=~present)


def _changed(column: Column) -> SourceError:
    return SourceError(
        f"column '{column.name}' of source must be as it was when inspected; got other values.", "Run again once it is at rest."
    )


def _content(table: pa.Table) -> list[str]:
    return [name for name in table.column_names if name not in (HASH, KEY)]


def _cells(values: pa.ChunkedArray) -> UInt64:
    """Return 64 bits for each cell: a float's own, a level's BLAKE2b digest."""
    whole = _whole(values)
    if pa.types.is_dictionary(whole.type):
        digests = [hashlib.blake2b(text.encode(), digest_size=8).digest() for text in whole.dictionary.to_pylist()]
        table = np.array([int.from_bytes(digest, "little") for digest in digests] or [0], dtype=np.uint64)
        cells = table[np.asarray(whole.indices.fill_null(0).to_numpy(), dtype=np.int64)]
        return np.where(_nulls(values), _MISSING_LEVEL, cells)
    if pa.types.is_uint64(whole.type):  # a hash already; as a double it would lose its last bits
        return np.asarray(whole.fill_null(0).to_numpy(), dtype=np.uint64)
    floats = np.asarray(whole.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64) + 0.0
    return np.where(np.isnan(floats), _MISSING_FLOAT, floats.view(np.uint64))


def _sortable(values: pa.ChunkedArray) -> npt.NDArray[np.int64] | npt.NDArray[np.uint64]:
    """Return integers that tell cells apart: a level's rank among the texts, a float's bits."""
    whole = _whole(values)
    if not pa.types.is_dictionary(whole.type):
        return _cells(values)
    texts = whole.dictionary.to_pylist()
    rank = {text: number for number, text in enumerate(sorted(set(texts)))}
    ranks = np.array([rank[text] for text in texts] or [0], dtype=np.int64)
    return np.where(_nulls(values), np.int64(-1), ranks[np.asarray(whole.indices.fill_null(0).to_numpy(), dtype=np.int64)])


def _whole(values: pa.ChunkedArray) -> pa.Array:
    whole = values.unify_dictionaries().combine_chunks() if pa.types.is_dictionary(values.type) else values.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


def _nulls(values: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    return np.asarray(values.is_null().to_numpy(), dtype=np.bool_)
