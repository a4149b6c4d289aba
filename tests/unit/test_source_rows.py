"""Canonical rows, hashes, keys; and back to the source's own values and types."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tasks.contract.columns import canonical_type, decode
from tasks.contract.errors import SourceError
from tasks.contract.roles import TableSchema
from tasks.contract.spec import RolesSpec
from tasks.source.inspection import Inspection
from tasks.source.rows import bucket_of, canonical, content_hash, settle

N = 60
RNG = np.random.default_rng(2)
BEFORE_1970 = [dt.datetime(1968, 1, 1, 1, 2, 3) + dt.timedelta(days=31 * i, microseconds=i) for i in range(N)]


def holed(values: list[Any]) -> list[Any]:
    return [None if i % 7 == 3 else value for i, value in enumerate(values)]


COLUMNS: dict[str, pa.Array] = {
    "float": pa.array(holed(RNG.normal(size=N).tolist())),
    "float32": pa.array(holed([0.1 * i for i in range(N)]), pa.float32()),
    "int8": pa.array(holed([i - 30 for i in range(N)]), pa.int8()),
    "int64": pa.array(holed([10**12 + i for i in range(N)])),
    "uint64": pa.array(holed(list(range(N))), pa.uint64()),
    "bool": pa.array(holed([i % 2 == 0 for i in range(N)])),
    "string": pa.array(holed([f"lävel {i % 3}" for i in range(N)])),
    "large_string": pa.array(holed([f"l{i % 3}" for i in range(N)]), pa.large_string()),
    "dictionary": pa.array(holed([f"l{i % 3}" for i in range(N)])).dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string())),
    "ordered": pa.DictionaryArray.from_arrays(pa.array([i % 3 for i in range(N)], pa.int16()), ["low", "mid", "high"], ordered=True),
    "int dictionary": pa.array(holed([10 * (i % 3) for i in range(N)])).dictionary_encode(),
    "float dictionary": pa.array(holed([0.5 * (i % 3) for i in range(N)])).dictionary_encode(),
    "bool dictionary": pa.array(holed([i % 3 == 0 for i in range(N)])).dictionary_encode(),
    "date32": pa.array(holed([moment.date() for moment in BEFORE_1970])),
    "date64": pa.array(holed([moment.date() for moment in BEFORE_1970]), pa.date64()),
    "timestamp[us]": pa.array(holed(BEFORE_1970)),
    "timestamp[s]": pa.array(holed([moment.replace(microsecond=0) for moment in BEFORE_1970]), pa.timestamp("s")),
    "timestamp[ns]": pa.array(holed(BEFORE_1970), pa.timestamp("ns")),
    "timestamp[ms, tz]": pa.array(holed([moment.replace(microsecond=0) for moment in BEFORE_1970]), pa.timestamp("ms", "America/New_York")),
    "decimal": pa.array(holed([decimal.Decimal(i * 37) / 100 for i in range(N)]), pa.decimal128(9, 2)),
}


def source(**columns: Any) -> pa.Table:
    return pa.table({"t": [i % 2 for i in range(N)], "y": RNG.normal(size=N).tolist()} | columns)


def typed(table: pa.Table, text: bool = False, **roles: Any) -> tuple[pa.Table, TableSchema]:
    inspection = Inspection(RolesSpec(**({"treatment": "t", "outcome": "y"} | roles)))
    form = "csv" if text else "parquet"
    found = inspection.finish(inspection.visit(inspection.start(), table), inspection.roles, folds=5, source_format=form)
    return canonical(table, found.table, form), found.table


@pytest.mark.parametrize("name", COLUMNS)
def test_there_and_back(name: str) -> None:
    table = source(w=COLUMNS[name])
    rows, schema = typed(table)
    assert rows.column_names == ["w0", "a", "y"]
    assert [field.type for field in rows.schema] == [canonical_type(schema.covariates[0]), pa.int8(), pa.float64()]
    back = decode(schema, rows)
    assert back.schema.equals(table.schema)
    for column in table.column_names:
        assert back.column(column).to_pylist() == table.column(column).to_pylist()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("int8", "continuous"), ("float32", "continuous"), ("bool", "categorical"), ("date32", "datetime")],
)
def test_there_and_back_with_a_declared_kind(name: str, kind: str) -> None:
    table = source(w=COLUMNS[name])
    rows, schema = typed(table, kinds={"w": kind})
    assert decode(schema, rows).column("w").to_pylist() == table.column("w").to_pylist()


@pytest.mark.parametrize(
    "values",
    [
        pa.array([i % 4 for i in range(N)], pa.int16()),
        pa.array([0.1 * (i % 4) for i in range(N)], pa.float32()),
        pa.array([dt.date(2020, 1, 1 + i % 4) for i in range(N)]),
    ],
)
def test_numbers_and_dates_as_categories_come_back(values: pa.Array) -> None:
    table = source(w=values)
    rows, schema = typed(table, kinds={"w": "categorical"})
    assert pa.types.is_dictionary(rows.column("w0").type)
    assert decode(schema, rows).column("w").to_pylist() == table.column("w").to_pylist()


@pytest.mark.parametrize(
    ("labels", "treated"),
    [
        (pa.array([True, False] * 30), True),
        (pa.array(["drug", "none"] * 30), "drug"),
        (pa.array(["drug", "none"] * 30).dictionary_encode(), "drug"),
        (pa.array([2.0, 1.0] * 30), 2),
        (pa.array([2, 1] * 30, pa.uint8()), 2),
        (pa.array(["drug", "none"] * 30, pa.large_string()), "drug"),
    ],
)
def test_treatment_labels_come_back(labels: pa.Array, treated: Any) -> None:
    table = source(w=COLUMNS["float"]).set_column(0, "t", labels)
    rows, schema = typed(table, treated=treated)
    assert rows.column("a").to_pylist() == [1, 0] * 30
    back = decode(schema, rows)
    assert back.schema.equals(table.schema)
    assert back.column("t").to_pylist() == table.column("t").to_pylist()


@pytest.mark.parametrize("outcome", [pa.array([True, False, False] * 20), pa.array([1, 0, 0] * 20, pa.int32()), pa.array([1, 0, 5] * 20)])
def test_outcomes_come_back(outcome: pa.Array) -> None:
    table = source(w=COLUMNS["float"]).set_column(1, "y", outcome)
    rows, schema = typed(table)
    assert rows.column("y").type == pa.float64()
    assert decode(schema, rows).column("y").to_pylist() == outcome.to_pylist()


def test_csv_text_becomes_what_it_reads_as() -> None:
    texts = {
        "t": ["1", "0"] * 30,
        "y": ["0.5", " 1.25"] * 30,
        "i": ["7", "-3", None] * 20,
        "b": ["TRUE", "false", None] * 20,
        "d": ["2020-01-01", "1969-12-31", None] * 20,
        "s": [f"2020-01-01T00:00:{i:02d}.5" for i in range(N)],
        "z": ["2020-01-01T02:00:00+02:00", "2020-01-01T00:00:01Z"] * 30,
        "c": ["u", "v", None] * 20,
    }
    rows, schema = typed(pa.table(texts, schema=pa.schema([(name, pa.string()) for name in texts])), text=True)
    back = decode(schema, rows)
    assert [str(kind) for kind in back.schema.types] == [
        "int64",
        "double",
        "int64",
        "bool",
        "date32[day]",
        "timestamp[us]",
        "timestamp[us, tz=UTC]",
        "string",
    ]
    assert back.column("y").to_pylist()[:2] == [0.5, 1.25]
    assert back.column("b").to_pylist()[:3] == [True, False, None]
    assert back.column("d").to_pylist()[:2] == [dt.date(2020, 1, 1), dt.date(1969, 12, 31)]
    assert back.column("s").to_pylist()[3] == dt.datetime(2020, 1, 1, 0, 0, 3, 500000)
    assert back.column("z").to_pylist()[0] == dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


def test_rows_without_treatment_or_outcome_are_left_out() -> None:
    outcome = pa.array([None if i < 3 else float(i) if i != 5 else float("nan") for i in range(N)])
    table = (
        source(w=COLUMNS["string"]).set_column(1, "y", outcome).set_column(0, "t", pa.array([None if i == 9 else i % 2 for i in range(N)]))
    )
    rows, schema = typed(table, missing_outcome="drop", missing_treatment="drop")
    assert rows.num_rows == schema.rows == N - 5
    assert rows.column("y").null_count == rows.column("a").null_count == 0


def test_rare_levels_are_pooled_and_numbers_go_to_the_nearest() -> None:
    text = ["often"] * 40 + ["five"] * 14 + ["secret"] * 3 + ["other secret"] * 3
    rows, _ = typed(source(w=text))
    assert rows.column("w0").to_pylist() == [*text[:54], *["(other)"] * 6]
    clash = ["(other)"] * 40 + text[40:]
    rows, _ = typed(source(w=clash))
    assert rows.column("w0").to_pylist() == [*clash[:54], *["(other 2)"] * 6]
    # a pool of four rows would show them: they count to the most frequent level
    lone = ["often"] * 40 + ["five"] * 16 + ["secret"] * 4
    rows, schema = typed(source(w=lone))
    assert rows.column("w0").to_pylist() == [*lone[:56], *["often"] * 4]
    assert schema.columns[-1].levels == ("five", "often")
    numbers = [1] * 30 + [10] * 24 + [7] * 2 + [0] * 2 + [99] * 2
    rows, schema = typed(source(w=numbers), kinds={"w": "categorical"})
    assert decode(schema, rows).column("w").to_pylist() == [1] * 30 + [10] * 24 + [10] * 2 + [1] * 2 + [10] * 2


def test_a_source_that_changed_is_refused() -> None:
    _, schema = typed(source(w=["u", "v"] * 30))
    with pytest.raises(SourceError, match="as it was when inspected") as caught:
        canonical(source(w=["u", "secret"] * 30), schema, "parquet")
    assert "secret" not in str(caught.value)
    with pytest.raises(SourceError, match="as it was when inspected"):
        canonical(source(w=["u", "v"] * 30).set_column(0, "t", pa.array([0, 2] * 30)), schema, "parquet")


def test_hash_knows_content_alone() -> None:
    rows, _ = typed(source(w=COLUMNS["string"], v=COLUMNS["float"]))
    hashes = content_hash(rows)
    assert len(np.unique(hashes)) == N
    other = pa.DictionaryArray.from_arrays(
        pa.array([2 - int(c) if c is not None else None for c in rows.column("w0").chunk(0).indices.to_pylist()], pa.int32()),
        pa.array(["lävel 2", "lävel 1", "lävel 0"]),
    )
    recoded = rows.set_column(0, "w0", other)
    assert (content_hash(recoded) == hashes).all()
    assert (content_hash(rows.take(pa.array(range(N - 1, -1, -1)))) == hashes[::-1]).all()
    assert (np.concatenate([content_hash(rows.slice(0, 7)), content_hash(rows.slice(7))]) == hashes).all()
    flipped = rows.set_column(3, "y", pa.array([-value if value is not None else None for value in rows.column("y").to_pylist()]))
    assert not (content_hash(flipped) == hashes).any()


def test_hash_of_zero_and_of_missing() -> None:
    def one(value: float | None, mask: bool = False) -> int:
        table = pa.table({"w0": pa.array([value], pa.float64()), "a": pa.array([1], pa.int8()), "y": pa.array([0.0])})
        return int(content_hash(table)[0])

    assert one(0.0) == one(-0.0)
    assert one(float("nan")) == one(None) != one(0.0)


def test_buckets_are_contiguous_ranges() -> None:
    hashes = np.sort(RNG.integers(0, 2**64, size=5000, dtype=np.uint64))
    hashes = np.concatenate(([np.uint64(0)], hashes, [np.uint64(2**64 - 1)]))
    for buckets in (1, 2, 3, 7, 64):
        found = bucket_of(hashes, buckets)
        assert found[0] == 0
        assert found[-1] == buckets - 1
        assert (np.diff(found) >= 0).all()
        assert np.bincount(found).min() > 5000 / buckets * 0.6


def test_equal_rows_get_different_keys_even_where_hashes_meet() -> None:
    same = pa.table({"w0": pa.array([1.0] * 6), "a": pa.array([1] * 6, pa.int8()), "y": pa.array([0.0] * 6)})
    top = 2**64 - 2
    for hashes in ([5] * 6, [5, 5, 5, 6, 6, 8], [top] * 6, [0, top, top, top, top, 1]):
        keys = settle(same.append_column("hash", pa.array(hashes, pa.uint64()))).column("key").to_numpy()
        assert len(np.unique(keys)) == 6


def test_rows_of_one_hash_are_ordered_by_content() -> None:
    levels = pa.array(["b", "a", None, "b", "c", "a"]).dictionary_encode()
    table = pa.table({"w0": levels, "a": pa.array([0, 1] * 3, pa.int8()), "y": pa.array([3.0, 1.0, 2.0, 1.0, 5.0, 0.5])})
    table = table.append_column("hash", pa.array([7] * 6, pa.uint64()))
    first = settle(table)
    for seed in range(5):
        shuffled = table.take(pa.array(np.random.default_rng(seed).permutation(6)))
        assert settle(shuffled).to_pylist() == first.to_pylist()


def test_settling_nothing() -> None:
    rows, _ = typed(source(w=COLUMNS["string"]))
    empty = rows.slice(0, 0).append_column("hash", pa.array([], pa.uint64()))
    assert settle(empty).num_rows == 0
