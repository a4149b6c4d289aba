"""Released Parquet files say where they come from, and every common reader sees the same table."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from infra.workspace import parquet_bytes
from tasks.contract.footer import KEY, with_footer
from tasks.contract.spec import parse_spec
from tests.reporting import schema

SPEC = parse_spec({"name": "trial", "source": {"uri": "trial.csv"}, "roles": {"treatment": "arm <b>", "outcome": "score & more"}})
STAGES = pa.DictionaryArray.from_arrays(pa.array([0, 2, 1, None], pa.int8()), pa.array(["I", "II", "III"]), ordered=True)
MOMENT = datetime.datetime(2020, 2, 29, 12, 30)
#: Every type that a release can have.
TABLE = pa.table(
    {
        "stage": STAGES,
        "site": pa.array(["Köln", "Aachen", None, "Köln"]).dictionary_encode(),
        "name": pa.array(["a", 'b"', "c,", None], pa.large_string()),
        "born": pa.array([MOMENT.date(), None, MOMENT.date(), MOMENT.date()], pa.date32()),
        "visit": pa.array([MOMENT, MOMENT, None, MOMENT], pa.timestamp("us")),
        "seen": pa.array([MOMENT, MOMENT, MOMENT, None], pa.timestamp("us", tz="UTC")),
        "weight": pa.array([1.5, None, 2.25, -3.0], pa.float32()),
        "height": pa.array([1.5, 2.0, None, 0.1]),
        "children": pa.array([0, 1, None, 3], pa.int16()),
        "smokes": pa.array([True, False, None, True]),
        "arm": pa.array([0, 1, 1, 0], pa.int64()),
    }
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a release in two parts."""
    folder = tmp_path_factory.mktemp("copy-0")
    for part, rows in enumerate((TABLE[:3], TABLE[3:])):
        (folder / f"part-0000{part}.parquet").write_bytes(parquet_bytes(with_footer(rows, SPEC, schema(), "0.1.0", 0, part)))
    return folder


def test_a_part_names_its_release(folder: Path) -> None:
    metadata = pq.read_metadata(folder / "part-00001.parquet").metadata
    assert json.loads(metadata[KEY]) == {
        "format": "waymint-part/1",
        "release": "trial",
        "copy": 0,
        "part": 1,
        "synthetic": True,
        "treatment": "arm <b>",
        "outcome": "score & more",
        "made_by": "waymint 0.1.0",
    }


def test_neither_version_nor_run_decides_the_bytes() -> None:
    again = parse_spec(SPEC.model_dump(mode="json") | {"store": {"uri": "elsewhere"}})
    first, second = (parquet_bytes(with_footer(TABLE, spec, schema(), "0.1.0", 0, 0)) for spec in (SPEC, again))
    assert first == second


def test_arrow_reads_the_folder_as_one_table(folder: Path) -> None:
    table = ds.dataset(folder).to_table()
    assert table.cast(TABLE.schema).to_pylist() == TABLE.to_pylist()
    assert table.schema.field("stage").type.ordered


def test_pandas_reads_the_folder_as_one_table(folder: Path) -> None:
    frame = pd.read_parquet(folder)
    assert list(frame.columns) == TABLE.column_names
    assert frame["stage"].cat.ordered
    assert list(frame["stage"].cat.categories) == ["I", "II", "III"]
    assert frame["stage"].tolist()[:3] == ["I", "III", "II"]
    assert frame["height"].tolist()[:2] == [1.5, 2.0]
    assert str(frame["visit"].dtype).startswith("datetime64")
    assert frame.isna().sum().tolist() == [1] * 10 + [0]


def test_polars_reads_the_folder_as_one_table(folder: Path) -> None:
    frame = pl.read_parquet(folder / "*.parquet")
    assert frame.columns == TABLE.column_names
    rows = frame.with_columns(pl.col("stage", "site").cast(pl.String)).to_dicts()
    assert rows == TABLE.to_pylist()


def test_duckdb_reads_the_folder_as_one_table(folder: Path) -> None:
    pattern = f"{folder}/*.parquet"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        table = connection.sql("SELECT * FROM read_parquet($1)", params=[pattern]).to_arrow_table()
        query = "SELECT value FROM parquet_kv_metadata(?) WHERE key = 'waymint'"
        (origin,) = connection.execute(query, [f"{folder}/part-00000.parquet"]).fetchall()
    assert table.column_names == TABLE.column_names
    plain = [field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field for field in TABLE.schema]
    assert table.cast(pa.schema(plain)).to_pylist() == TABLE.to_pylist()
    assert json.loads(origin[0])["release"] == "trial"
