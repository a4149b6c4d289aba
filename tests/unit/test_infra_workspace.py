"""The workspace: what counts as finished, who gets which, and what is left of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from infra.provenance import code_digest, code_record, package_versions
from infra.settings import Settings
from infra.workspace import Workspace
from infra.workspaces import run_workspace, sweep, workspace_root
from tasks.contract.errors import StoreError, StoreMissing
from tasks.contract.refs import ModelRef, PartitionRef, Ref
from tasks.contract.spec import Spec, parse_spec

ROOT = Path(__file__).parents[2]
DAY = 86_400.0


def spec(**values) -> Spec:
    base = {"name": "trial", "source": {"uri": "x.parquet"}, "roles": {"treatment": "a", "outcome": "y"}}
    return parse_spec({**base, **values})


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    return Workspace(f"file://{tmp_path}/space")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", workspace=f"file://{tmp_path}/work")


def test_a_table_comes_back_and_counts_as_finished(space: Workspace) -> None:
    table = pa.table({"x": [1.0, None, 3.0]})
    ref = space.put_table("part.parquet", table, part=2)
    assert (ref.rows, ref.part) == (3, 2)
    assert space.table(ref).equals(table)
    assert space.finished("part.parquet", PartitionRef) == ref
    assert space.put_table("part.parquet", table, part=2) == ref


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone", "no receipt"])
def test_a_damaged_object_is_not_finished(space: Workspace, tmp_path: Path, damage: str) -> None:
    space.put_bytes("thing", b"0123456789")
    path = tmp_path / "space" / "thing"
    if damage == "cut":
        path.write_bytes(b"01234")
    elif damage == "flipped":
        path.write_bytes(b"0123456780")
    elif damage == "gone":
        path.unlink()
    else:
        path.with_name("thing.receipt").unlink()
    assert space.finished("thing", Ref) is None


def test_a_model_is_read_by_its_bytes_not_only_its_name(space: Workspace) -> None:
    first = space.put_model("it.model", {"slope": 1.0})
    assert space.model(first) == {"slope": 1.0}
    second = space.put_model("it.model", {"slope": 2.0})
    assert space.model(second) == {"slope": 2.0}
    assert space.finished("it.model", ModelRef) == second


def test_a_row_group_by_its_tag(space: Workspace) -> None:
    import pyarrow.parquet as pq

    schema = pa.schema([("x", pa.int64())], metadata={b"buckets": b'{"0": 0, "5": 1}'})
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema) as writer:
        for values in ([1, 2], [3]):
            writer.write_table(pa.table({"x": values}).replace_schema_metadata(schema.metadata))
    ref = space.put_encoded("scattered.parquet", sink.getvalue().to_pybytes(), rows=3)
    found = space.tagged_row_group(ref, "buckets", 5)
    assert found is not None
    assert found["x"].to_pylist() == [3]
    assert space.tagged_row_group(ref, "buckets", 1) is None


def test_clear_keeps_what_it_is_told_and_else_leaves_nothing(space: Workspace, tmp_path: Path) -> None:
    space.put_bytes("deep/thing", b"1")
    space.put_record("run.json", {"id": "r"})
    space.clear(keep=("run.json",))
    assert space.record("run.json") == {"id": "r"}
    with pytest.raises(StoreMissing):
        space.read("deep/thing")
    (tmp_path / "space" / ".waymint-tmp" / "left-by-a-killed-writer").write_bytes(b"rows")
    space.clear()
    assert space.record("run.json") is None
    assert not (tmp_path / "space").exists()


def test_the_same_spec_finds_its_workspace_again(settings: Settings) -> None:
    with run_workspace(spec(), settings) as first:
        first.put_record("run.json", {"id": "r"})
    # neither the store nor the engine changes what is done
    with run_workspace(spec(store={"uri": "elsewhere"}, engine={"workers": 7}), settings) as again:
        assert again.uri == first.uri
        assert again.record("run.json") == {"id": "r"}
    with run_workspace(spec(seed=1), settings) as other:
        assert other.uri != first.uri


def test_two_live_runs_of_one_spec_have_two_workspaces(settings: Settings) -> None:
    with run_workspace(spec(), settings) as first, run_workspace(spec(), settings) as second:
        assert first.uri != second.uri
    with run_workspace(spec(), settings) as third:
        assert third.uri == first.uri


def test_a_killed_process_frees_its_workspace(settings: Settings, tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom infra.settings import Settings\nfrom infra.workspaces import run_workspace\n"
        "from tasks.contract.spec import Spec\n"
        "spec = Spec.model_validate_json(sys.argv[1])\n"
        "with run_workspace(spec, Settings(home=sys.argv[2], workspace=sys.argv[3])) as space:\n"
        "    print(space.uri, flush=True)\n    time.sleep(100)\n"
    )
    command = [sys.executable, "-c", code, spec().model_dump_json(), str(settings.home), str(settings.workspace)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        held = holder.stdout.readline().strip()
        with run_workspace(spec(), settings) as second:
            assert second.uri != held
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    with run_workspace(spec(), settings) as third:
        assert third.uri == held


def test_sweep_removes_the_old_and_leaves_the_young_the_live_and_the_others(settings: Settings) -> None:
    root = workspace_root(spec(), settings)
    with run_workspace(spec(), settings) as old:
        old.put_bytes("rows", b"1")
    with run_workspace(spec(name="trial-b"), settings) as other:
        other.put_bytes("rows", b"1")
    now = time.time()
    assert sweep(root, settings, "trial", DAY, now) == []
    with run_workspace(spec(), settings):
        assert sweep(root, settings, "trial", DAY, now + 2 * DAY) == []
    assert sweep(root, settings, "trial", DAY, now + 2 * DAY) == [old.uri]
    assert other.read("rows") == b"1"
    with pytest.raises(StoreMissing):
        old.read("rows")


def test_the_spec_names_a_workspace_before_the_environment_does(settings: Settings) -> None:
    assert workspace_root(spec(), settings) == settings.workspace
    assert workspace_root(spec(engine={"workspace": "s3://bucket/work/"}), settings) == "s3://bucket/work"


def test_records_of_code_and_packages() -> None:
    assert code_digest() == code_digest()
    assert len(code_digest()) == 64
    record = code_record()
    assert record["digest"] == code_digest()
    assert record["commit"] is None or len(record["commit"]) == 40
    assert {"numpy", "pyarrow", "scikit-learn", "python"} <= set(package_versions())


def test_a_workspace_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError) as error:
        Workspace(f"file://{tmp_path}/file").put_record("run.json", {})
    assert "workspace" in error.value.message
    assert "engine.workspace" in error.value.hint
