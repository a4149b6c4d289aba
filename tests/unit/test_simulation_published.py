"""A published law: its rows and its outcome's law read back from a release's files, and what is refused."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.stores.file import FileStore
from tasks.contract.columns import NUISANCE_COLUMNS
from tasks.contract.errors import StoreError
from tasks.contract.refs import FileRef, Parent
from tasks.contract.roles import TableSchema
from tasks.contract.spec import RolesSpec, parse_spec
from tasks.mechanisms.law_record import law_bytes
from tasks.mechanisms.laws.counts import CountLaw
from tasks.publish.layout import MECHANISMS
from tasks.simulation.published import Published, law_of, rows_of
from tasks.simulation.request import FromRelease
from tasks.source.inspection import Inspection
from tasks.source.rows import canonical

N, PARTS = 90, 3


def table() -> pa.Table:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"age": rng.integers(20, 60, N), "site": rng.choice(["n", "s"], N), "drug": rng.integers(0, 2, N), "size": 1.5})
    frame["y"] = rng.poisson(3.0, N)
    frame["day"] = pd.Timestamp("2001-01-01") + pd.to_timedelta(rng.integers(0, 900, N), "D")
    for name in NUISANCE_COLUMNS.values():
        frame[name] = rng.random(N)
    return pa.Table.from_pandas(frame, preserve_index=False)


def schema_of(found: pa.Table) -> TableSchema:
    inspection = Inspection(RolesSpec(treatment="drug", outcome="y", exclude=tuple(NUISANCE_COLUMNS.values())))
    return inspection.finish(inspection.visit(inspection.start(), found), inspection.roles, folds=2, source_format="parquet").table


@pytest.fixture
def release(tmp_path: Path) -> tuple[FileStore, Published]:
    """Write a release of three parts and two laws."""
    store, files = FileStore(tmp_path), {}
    for part in range(PARTS):
        sink = io.BytesIO()
        pq.write_table(table().slice(part * N // PARTS, N // PARTS), sink)
        files[f"data/copy-0/part-{part:05d}.parquet"] = sink.getvalue()
    laws = [json.loads(law_bytes(CountLaw((0.25, each)))) for each in (0.0, 0.1 + 0.2)]
    files[MECHANISMS] = json.dumps({"laws": laws}).encode()
    refs = {}
    for path, data in files.items():
        store.put(f"trial/v000001/{path}", data)
        refs[path] = FileRef(path=path, rows=None, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    law = refs.pop(MECHANISMS)
    return store, Published(store.uri, "trial/v000001/", 0, tuple(refs.values()), law, None)


def test_rows_come_back_as_they_were_drawn(release: tuple[FileStore, Published]) -> None:
    store, found = release
    whole, schema = table(), schema_of(table())
    rows = rows_of(store, found, schema, 1_000)
    drawn = canonical(whole, schema, "parquet")
    assert rows.num_rows == N
    for column in drawn.column_names:
        assert rows.column(column).to_pylist() == drawn.column(column).to_pylist()
    for name, shown in NUISANCE_COLUMNS.items():
        np.testing.assert_array_equal(rows.column(name).to_numpy(), whole.column(shown).to_numpy())
    fewer = rows_of(store, found, schema, 40)
    assert fewer.equals(rows.slice(0, 40).unify_dictionaries())


def test_parts_beyond_the_rows_asked_for_are_not_read(release: tuple[FileStore, Published]) -> None:
    store, found = release
    store.delete(f"trial/v000001/{found.parts[2].path}")
    assert rows_of(store, found, schema_of(table()), 60).num_rows == 60


def test_the_law_is_the_copys_own(release: tuple[FileStore, Published]) -> None:
    store, found = release
    assert law_of(store, found) == CountLaw((0.25, 0.0))
    assert law_of(store, found._replace(copy=1)) == CountLaw((0.25, 0.1 + 0.2))
    with pytest.raises(StoreError, match="laws of trial/v000001 must be one for each copy; got 2, none for copy 2"):
        law_of(store, found._replace(copy=2))


@pytest.mark.parametrize("path", [MECHANISMS, "data/copy-0/part-00001.parquet"])
def test_a_file_that_is_not_the_manifests_is_refused(release: tuple[FileStore, Published], path: str) -> None:
    store, found = release
    data = bytearray(store.get(f"trial/v000001/{path}"))
    data[len(data) // 2] ^= 1
    store.put(f"trial/v000001/{path}", bytes(data))
    read = (lambda: law_of(store, found)) if path == MECHANISMS else lambda: rows_of(store, found, schema_of(table()), N)
    with pytest.raises(StoreError, match=f"file '{path}' of trial/v000001 must be as its manifest says"):
        read()


def test_rows_without_an_outcome_are_refused(release: tuple[FileStore, Published]) -> None:
    store, found = release
    holed = table().to_pandas()
    holed["y"] = holed["y"].astype(float).where(holed.index != 3)
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(holed, preserve_index=False), sink)
    store.put("trial/v000001/data/copy-0/part-00000.parquet", sink.getvalue())
    ref = found.parts[0].model_copy(update={"bytes": len(sink.getvalue()), "sha256": hashlib.sha256(sink.getvalue()).hexdigest()})
    with pytest.raises(StoreError, match="must all have treatment and outcome; 89 have"):
        rows_of(store, found._replace(parts=(ref,)), schema_of(table()), N)


def test_a_run_is_known_by_the_release_it_simulates_from() -> None:
    """The digest, by which a killed run is found again, changes with the release's content."""
    spec = parse_spec({"name": "a", "source": {"uri": "store/trial"}, "roles": {"treatment": "drug", "outcome": "y"}})
    parents = [
        Parent(uri="file:///store/trial", name="trial", version=version, manifest=sha * 64)
        for version, sha in ((1, "a"), (1, "b"), (2, "a"))
    ]
    made = [FromRelease(**dict(spec), parent=parent) for parent in parents]
    assert len({each.digest("simulate") for each in (spec, *made)}) == 4
    assert FromRelease(**dict(spec), parent=parents[0]).digest("simulate") == made[0].digest("simulate")
