"""Between canonical values and the source's own types."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.contract.nuisance import Nuisances, Predictions, nuisance_names, suffix_of
from tasks.contract.rng import Float64, UInt64
from tasks.contract.roles import Column, TableSchema

#: Names that ``release.include_nuisances`` adds to a release of two arms: the design's g, Q*0 and Q*1 of each row.
NUISANCE_COLUMNS = {"g": "waymint_g", "q0": "waymint_q0", "q1": "waymint_q1"}


def nuisance_columns(arms: int) -> dict[str, str]:
    """Return the names that ``release.include_nuisances`` adds, by the name of the nuisance."""
    return {name: f"waymint_{name}" for name in nuisance_names(arms)}


def mechanism_columns(schema: TableSchema) -> dict[str, str]:
    """Return the names that ``release.include_nuisances`` adds to a release, by the name of the canonical column.

    Those of :func:`nuisance_columns`. Q of several outcomes have the outcome's name behind (``waymint_q0_NAME``), and outcomes with missing
    cells add the chance to be known in every arm (``waymint_pi0``, or ``waymint_pi0_NAME``). A time to event adds S* of every arm at the
    p-th declared time (``waymint_s{p}_0``); with competing causes also the time lost to the j-th (``waymint_f{j}_0_0``) and its incidence
    (``waymint_f{j}_{p}_0``).
    """
    arms, names = range(len(schema.arms)), nuisance_columns(len(schema.arms))
    shown = {name: label for name, label in names.items() if name.startswith("g")}
    for number, column in enumerate(schema.outcomes):
        named = f"_{column.name}" if len(schema.outcomes) > 1 else ""
        shown |= {f"q{arm}{suffix_of(number)}": f"waymint_q{arm}{named}" for arm in arms}
        if column.missing:
            shown |= {f"o{arm}{suffix_of(number)}": f"waymint_pi{arm}{named}" for arm in arms}
    if schema.survival is not None:
        for number in range(1, 1 + len(schema.survival.times)):
            shown |= {f"s{number}_{arm}": f"waymint_s{number}_{arm}" for arm in arms}
        places = itertools.product(range(1, 1 + len(schema.survival.causes)), range(1 + len(schema.survival.times)), arms)
        shown |= {name: f"waymint_{name}" for name in (cause_name(cause, number, arm) for cause, number, arm in places)}
    return shown


def cause_name(cause: int, number: int, arm: int) -> str:
    """Return the name of a canonical column of one cause, counted from 1, under an arm: its time lost (0), or F at the p-th time."""
    return f"f{cause}_{number}_{arm}"


#: Weight of every released row: the release stands for the weighted population by itself.
SELF_WEIGHT = 1.0

#: Canonical columns that say how rows count: the hash of a row's cluster, and its survey weight.
CLUSTER, WEIGHT = "c", "v"
#: Beside the hash, the cluster as a text.
CLUSTER_NAME = "cn"

#: Name of the column that marks the rows of an augmentation.
MARKER = "waymint_added"


def nuisances_of(table: pa.Table) -> Nuisances:
    """Return the columns of a table that :func:`tasks.contract.nuisance.nuisance_names` names, each of shape (n,)."""
    arms = sum(name[0] == "q" and name[1:].isdigit() for name in table.column_names)
    return Nuisances(*(table.column(name).to_numpy() for name in nuisance_names(arms)))


def predictions_of(table: pa.Table) -> Predictions:
    """Return the columns of a table that :meth:`tasks.contract.nuisance.Predictions.columns` names."""
    first, names = nuisances_of(table), set(table.column_names)

    def arrays(letter: str, number: int) -> tuple[Float64, ...] | None:
        wanted = [f"{letter}{arm}{suffix_of(number)}" for arm in range(first.arms)]
        return tuple(table.column(name).to_numpy() for name in wanted) if wanted[0] in names else None

    further: list[tuple[Float64, ...]] = []
    while (following := arrays("q", len(further) + 1)) is not None:
        further.append(following)
    presence = tuple(arrays("o", number) for number in range(1 + len(further)))
    return Predictions(first, tuple(further), presence if any(each is not None for each in presence) else ())


def prediction_names(schema: TableSchema) -> list[str]:
    """Return the names of g and of Q of all outcomes in a table."""
    arms = len(schema.arms)
    further = [f"q{arm}{suffix_of(number)}" for number in range(1, len(schema.outcomes)) for arm in range(arms)]
    return [*nuisance_names(arms), *further]


def canonical_type(column: Column) -> pa.DataType:
    """Return the Arrow type of a column's canonical values."""
    if column.role == "treatment":
        return pa.int8()
    if (column.is_drawn and column.is_category) or column.role == "id":
        return pa.dictionary(pa.int32(), pa.string())
    return pa.uint64() if column.role == "cluster" else pa.float64()


def unit_keys(table: pa.Table) -> UInt64:
    """Return the keys of what is sampled as one, shape (n,): the hash of a row's cluster, or the row's own key.

    Parameters
    ----------
    table : pyarrow.Table
        Canonical rows with ``key``, and with ``c`` where the schema has a cluster.
    """
    keys: UInt64 = table.column(CLUSTER if CLUSTER in table.column_names else "key").to_numpy().astype(np.uint64, copy=False)
    return keys


def clusters_of(table: pa.Table) -> UInt64 | None:
    """Return the hash of each row's cluster, shape (n,); None where rows come in none."""
    return unit_keys(table) if CLUSTER in table.column_names else None


def survey_weights(table: pa.Table) -> Float64 | None:
    """Return the survey weight of each row, shape (n,); None where there is none."""
    weights: Float64 | None = table.column(WEIGHT).to_numpy().astype(np.float64, copy=False) if WEIGHT in table.column_names else None
    return weights


def conform(column: Column, values: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Round and bound drawn numeric values to what the source's column can hold.

    Parameters
    ----------
    column : Column
        A numeric covariate or passenger, or the outcome.
    values : pyarrow float64 array, shape (n,)
        Canonical values; NaN is read as missing.

    Returns
    -------
    pyarrow float64 array, shape (n,)
        Null where missing.
    """
    raw = np.asarray(values.to_numpy(zero_copy_only=False) if isinstance(values, pa.Array) else values.to_numpy(), dtype=np.float64)
    kept = raw
    if column.is_drawn and column.low is not None and column.high is not None:
        kept = np.clip(kept, column.low, column.high)
    if column.kind in ("integer", "datetime") or pa.types.is_integer(column.arrow().type):
        kept = np.rint(kept)
    elif column.decimals is not None:
        kept = np.round(kept, column.decimals)
    if column.arrow().type == pa.float32():
        kept = kept.astype(np.float32).astype(np.float64)
    return pa.array(kept, mask=np.isnan(raw))


def decode(schema: TableSchema, table: pa.Table) -> pa.Table:
    """Give a canonical table the source's names, order and types.

    Parameters
    ----------
    schema : TableSchema
        The source's schema.
    table : pyarrow.Table
        Columns by id: every covariate and passenger, ``a`` (int8 0/1) and ``y`` (float64), already conformed; ids as texts,
        and the cluster's in ``cn``.

    Returns
    -------
    pyarrow.Table
        Columns as in the source.
    """
    arrays, fields = [], []
    for column in schema.columns:
        field = column.arrow()
        values = table.column(column.id)
        if column.role == "treatment":
            labels = pa.array(schema.arms)
            values = labels.take(values.combine_chunks().cast(pa.int32()))
        elif column.role in ("outcome", "event") and column.levels:
            values = pa.array(column.levels, pa.string()).take(values.combine_chunks().cast(pa.int32()))
        elif column.role in ("id", "cluster"):
            names = table.column(CLUSTER_NAME) if column.role == "cluster" else values
            arrays.append(_named(names, field.type))
            fields.append(field)
            continue
        if column.dictionary:
            arrays.append(_with_dictionary(values, column, field.type))
            fields.append(field)
            continue
        arrays.append(_to_source(values, field.type))
        fields.append(field)
    return pa.table(arrays, schema=pa.schema(fields))


def _with_dictionary(values: pa.Array | pa.ChunkedArray, column: Column, to: pa.DataType) -> pa.Array:
    """Code levels by the source's dictionary, in its order and with the words no row has; a pool of rare levels comes last."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    words = pa.array([*column.dictionary, *(level for level in column.levels if level not in column.dictionary)], pa.string())
    codes = pc.index_in(values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values, words)
    return pa.DictionaryArray.from_arrays(codes.cast(to.index_type), words.cast(to.value_type), ordered=to.ordered)


def _named(values: pa.Array | pa.ChunkedArray, to: pa.DataType) -> pa.Array | pa.ChunkedArray:
    """Write the texts of keys in the source's type: whole numbers of any length keep all digits."""
    texts = values.cast(pa.string())
    if pa.types.is_dictionary(to):
        return texts.cast(to.value_type).dictionary_encode().cast(to)
    return texts.cast(to)


def _to_source(values: pa.Array | pa.ChunkedArray, to: pa.DataType) -> pa.Array | pa.ChunkedArray:
    if pa.types.is_dictionary(values.type) and not pa.types.is_dictionary(to):
        values = values.cast(values.type.value_type)
    if pa.types.is_dictionary(to):
        return values.cast(to.value_type).dictionary_encode().cast(to)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return _from_text(values, to)
    if pa.types.is_temporal(to):
        instants = values.cast(pa.int64()).cast(pa.timestamp("us"))
        if pa.types.is_timestamp(to) and to.tz is not None:
            instants = pc.assume_timezone(instants, "UTC")
        return instants.cast(to, safe=False)
    return values.cast(to, safe=False)


def _from_text(values: pa.Array | pa.ChunkedArray, to: pa.DataType) -> pa.Array | pa.ChunkedArray:
    if pa.types.is_boolean(to):
        return pc.equal(values, "true")
    if pa.types.is_integer(to):
        return values.cast(pa.float64()).cast(to)
    return values.cast(to)


def arm_levels(schema: TableSchema) -> tuple[str, ...]:
    """Return the arms as levels of a joint law: their numbers, the control's "0" first."""
    return tuple(str(arm) for arm in range(len(schema.arms)))


def joint_columns(schema: TableSchema) -> tuple[Column, ...]:
    """Describe (W, A, Y) as columns of one joint law: treatment, binary outcomes and events as categories "0", "1", ..."""
    two = {"kind": "boolean", "levels": ("0", "1"), "low": None, "high": None, "decimals": None}
    several = two | {"kind": "categorical", "levels": arm_levels(schema)}
    outcomes = (
        outcome.model_copy(update=two) if kind == "binary" else outcome
        for outcome, kind in zip(schema.outcomes, schema.outcome_kinds, strict=True)
    )
    treatment = schema.treatment.model_copy(update=two if len(schema.arms) == 2 else several)
    event = () if schema.event is None else (schema.event.model_copy(update=two | _event_levels(schema.event)),)
    return (*schema.modelled, treatment, *outcomes, *event)


def _event_levels(event: Column) -> dict[str, object]:
    """Return kind and levels of the codes of events: "0" and "1", or of competing causes "0", "1", "2", ..."""
    several = len(event.levels) > 2
    return {"kind": "categorical" if several else "boolean", "levels": event_codes(event)}


def event_codes(event: Column) -> tuple[str, ...]:
    """Return the codes of a column of events as levels of a joint law: "0" of censoring, "1", ... of the causes."""
    return tuple(str(code) for code in range(max(2, len(event.levels))))


def constant_array(column: Column, rows: int) -> pa.Array:
    """Repeat the one value of a constant covariate."""
    if column.is_category:
        codes = pa.array(np.zeros(rows, dtype=np.int32))
        return pa.DictionaryArray.from_arrays(codes, pa.array(column.levels[:1], type=pa.string()))
    return pa.array(np.full(rows, column.low, dtype=np.float64))
