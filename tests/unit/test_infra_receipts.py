"""Receipts of the workspace and the digest of the code: what a run may take for its own, and what counts as the same code."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import infra.provenance as provenance
from infra import workspace as module
from infra.workspace import Run, Workspace, parquet_bytes
from tasks.contract.errors import StoreError, StoreMissing
from tasks.contract.refs import ModelRef, PartitionRef, Ref
from tasks.contract.spec import parse_spec


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    return Workspace(f"file://{tmp_path}/space")


def test_a_reference_describes_the_object(space: Workspace, tmp_path: Path) -> None:
    sha = hashlib.sha256(b"12345").hexdigest()
    assert space.put_bytes("deep/thing", b"12345") == Ref(key="deep/thing", sha256=sha, bytes=5)
    assert (tmp_path / "space" / "deep" / "thing").read_bytes() == space.read("deep/thing") == b"12345"
    table = pa.table({"x": [1, 2, 3]})
    data = parquet_bytes(table)
    expected = PartitionRef(key="part", sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), part=0, rows=3)
    assert space.put_table("part", table) == space.put_encoded("part", data, rows=3) == expected
    model = space.put_model("model", [1.5])
    data = space.read("model")
    assert model == ModelRef(key="model", sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def test_a_finished_object_is_found_by_a_second_run_of_the_same_workspace(space: Workspace, tmp_path: Path) -> None:
    ref = space.put_bytes("thing", b"12345")
    assert Workspace(f"file://{tmp_path}/space").finished("thing", Ref) == ref
    assert space.finished("other", Ref) is None


def test_a_receipt_counts_for_one_name_one_workspace_and_one_writer_only(space: Workspace, tmp_path: Path) -> None:
    space.put_bytes("thing", b"12345")
    folder = tmp_path / "space"
    receipt = (folder / "thing.receipt").read_bytes()
    signature, body = receipt.split(b"\n", 1)
    assert (len(signature), len(receipt)) == (64, 64 + 1 + len(body))
    assert json.loads(body)["key"] == "thing"
    # under another name
    (folder / "copy").write_bytes(b"12345")
    (folder / "copy.receipt").write_bytes(receipt)
    assert space.finished("copy", Ref) is None
    # in another workspace
    other = Workspace(f"file://{tmp_path}/other")
    other.put_bytes("else", b"")
    for name in ("thing", "thing.receipt"):
        (tmp_path / "other" / name).write_bytes((folder / name).read_bytes())
    assert other.finished("thing", Ref) is None
    # with another's bytes, signature or body, or none at all
    forged = body.replace(b'"bytes":5', b'"bytes":6')
    assert forged != body
    for text in (signature + b"\n" + forged, b"0" * 64 + b"\n" + body, b"zz" * 32 + b"\n" + body, body, b"", signature, b"\xff" + receipt):
        (folder / "thing.receipt").write_bytes(text)
        assert space.finished("thing", Ref) is None
    (folder / "thing.receipt").write_bytes(receipt)
    assert space.finished("thing", Ref) is not None


def test_folders_of_a_run_have_their_own_objects_and_read_one_anothers(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/space"
    whole, one, two = Workspace(uri), Workspace(uri, "one"), Workspace(uri, "two")
    table = pa.table({"x": [1]})
    ref = one.put_table("part", table)
    assert ref.key == "one/part"
    assert one.finished("part", PartitionRef) == whole.finished("one/part", PartitionRef) == ref
    assert two.finished("part", PartitionRef) is None
    assert two.table(ref).equals(table)
    assert one.put_bytes("bytes", b"1").key == "one/bytes"
    assert one.put_model("model", 1).key == "one/model"
    one.put_record("record", {"b": 2, "a": 1})
    assert (tmp_path / "space" / "one" / "record").read_bytes() == b'{"a": 1, "b": 2}'
    assert (one.record("record"), two.record("record")) == ({"a": 1, "b": 2}, None)
    one.keep_state("state", b"far")
    assert (one.state("state"), two.state("state")) == (b"far", None)
    assert one.folder == tmp_path / "space"
    two.put_bytes("kept", b"1")
    one.clear()
    assert not (tmp_path / "space" / "one").exists()
    assert two.read("two/kept") == b"1"
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "space").rglob("*")} == {0}  # nobody else reads real rows
    run = Run(spec=spec(), workspace=uri, id="r", created="now", folder="two")
    assert run.space().finished("kept", Ref) is not None
    assert Run(spec=spec(), workspace=uri, id="r", created="now").space().finished("two/kept", Ref) is not None
    assert run.model_copy(update={"base": "/base"}).absolute("x.csv") == "file:///base/x.csv"


def spec():
    return parse_spec({"name": "trial", "source": {"uri": "x.parquet"}, "roles": {"treatment": "a", "outcome": "y"}})


def test_what_is_kept_survives_a_clearing_and_the_folder_with_it(tmp_path: Path) -> None:
    space = Workspace(f"file://{tmp_path}/space", "one")
    space.put_record("run.json", {"id": "r"})
    space.put_bytes("rows", b"1")
    (tmp_path / "space" / "one" / "half-written").mkdir()
    space.clear(keep=("run.json",))
    assert space.record("run.json") == {"id": "r"}
    assert (tmp_path / "space" / "one" / "half-written").exists()
    assert space.finished("rows", Ref) is None


def test_a_state_is_read_by_its_writer_under_its_name_alone(space: Workspace, tmp_path: Path) -> None:
    assert space.state("state") is None
    space.keep_state("state", b"step 1")
    space.keep_state("state", b"step 2")
    assert space.state("state") == b"step 2"
    path = tmp_path / "space" / "state"
    kept = path.read_bytes()
    assert len(kept) == 32 + len(b"step 2")
    (tmp_path / "space" / "other").write_bytes(kept)
    assert space.state("other") is None
    path.write_bytes(kept[:-1] + b"3")
    assert space.state("state") is None


def test_a_model_is_loaded_once_and_other_bytes_are_never_loaded(space: Workspace, tmp_path: Path) -> None:
    ref = space.put_model("model", {"slope": 1.0})
    assert space.model(ref) is space.model(ref)
    assert space.unpickle(ref) == {"slope": 1.0}
    assert space.unpickle(ref) is not space.unpickle(ref)
    assert module._load.cache_parameters()["maxsize"] == 8
    (tmp_path / "space" / "model").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(StoreError, match=r"object 'model' of the workspace .* must be as the run wrote it; got other bytes") as error:
        space.unpickle(ref)
    assert "WAYMINT_WORKSPACE" in error.value.hint


def test_first_rows_are_taken_across_partitions(space: Workspace) -> None:
    parts = [space.put_table(f"part{at}", pa.table({"x": [3 * at, 3 * at + 1, 3 * at + 2]}), at) for at in range(3)]
    for rows in (1, 3, 4, 9, 20):
        assert space.first_rows(parts, rows)["x"].to_pylist() == list(range(min(rows, 9)))
    space._store.delete("part2")
    assert space.first_rows(parts, 6)["x"].to_pylist() == list(range(6))  # no part more is read than is needed
    with pytest.raises((StoreMissing, FileNotFoundError)):
        space.first_rows(parts, 7)


def test_some_columns_of_a_table_and_its_parquet(space: Workspace, tmp_path: Path) -> None:
    ref = space.put_table("part", pa.table({"x": [1], "y": [2]}))
    assert space.table(ref, ["y"]).column_names == ["y"]
    assert space.table(ref).column_names == ["x", "y"]
    metadata = pq.ParquetFile(tmp_path / "space" / "part").metadata
    assert metadata.format_version == "2.6"
    assert metadata.row_group(0).column(0).compression == "ZSTD"


def test_a_run_keeps_its_id_and_a_new_one_gets_one(space: Workspace) -> None:
    record, new = space.load_or_create_run()
    assert new
    assert record["id"].startswith(record["created"][:19].replace("-", "").replace(":", "") + "Z-")
    assert len(record["id"].split("-")[1]) == 8
    assert record["created"].endswith("+00:00")
    assert record["id"] != space.load_or_create_run()[0]["id"]
    space.put_record("run.json", record)
    assert space.load_or_create_run() == (record, False)


def test_a_workspace_that_cannot_be_written_says_so_and_how(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    uri = f"file://{tmp_path}/file"
    for put in (lambda space: space.put_bytes("x", b""), lambda space: space.keep_state("x", b"")):
        with pytest.raises(StoreError, match=f"workspace of the run must be writable; {uri} was not"):
            put(Workspace(uri))


# -- the code digest ---------------------------------------------------------------------------------------------------
@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A product of a few files, whose digest is taken in the place of ours."""
    root = tmp_path / "product"
    for name in ("flows/a.py", "tasks/b.py", "tasks/deep/page.html", "tasks/deep/style.css", "tasks/deep/page.j2", "infra/provenance.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    monkeypatch.setattr(provenance, "__file__", str(root / "infra" / "provenance.py"))
    return root


def test_the_digest_is_of_names_bytes_and_packages(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hashlib.sha256(json.dumps(provenance.package_versions(), sort_keys=True).encode())
    for name in ("flows/a.py", "tasks/b.py", "tasks/deep/page.html", "tasks/deep/page.j2", "tasks/deep/style.css", "infra/provenance.py"):
        digest.update(name.encode() + b"\0" + name.encode())
    assert provenance.code_digest() == digest.hexdigest()
    monkeypatch.setattr(provenance, "package_versions", lambda: {"numpy": "0"})
    assert provenance.code_digest() != digest.hexdigest()


@pytest.mark.parametrize("name", ["flows/a.py", "tasks/b.py", "tasks/deep/page.html", "tasks/deep/style.css", "tasks/deep/page.j2"])
def test_any_change_of_a_source_file_changes_the_digest(tree: Path, name: str) -> None:
    before = provenance.code_digest()
    (tree / name).write_text("changed")
    changed = provenance.code_digest()
    (tree / name).rename(tree / name.replace(".", "_."))
    moved = provenance.code_digest()
    (tree / name.replace(".", "_.")).unlink()
    assert len({before, changed, moved, provenance.code_digest()}) == 4


def test_what_is_no_source_leaves_the_digest(tree: Path) -> None:
    before = provenance.code_digest()
    for name in ("tasks/b.pyc", "tasks/data.csv", "tests/a.py", "docs/page.html", "setup.py"):
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_text("x")
    assert provenance.code_digest() == before


def test_versions_are_those_of_the_packages_and_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = provenance.package_versions()
    assert list(versions) == [*sorted(set(versions) - {"python"}), "python"]
    assert versions["python"] == platform.python_version()
    assert versions["numpy"] == importlib.metadata.version("numpy")

    def version(name: str) -> str:
        if name in provenance.OPTIONAL_PACKAGES:
            raise importlib.metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert provenance.package_versions() == dict.fromkeys(provenance.PACKAGES, "1") | {"python": platform.python_version()}


def test_the_commit_is_that_of_the_checkout_and_none_of_an_installation(tree: Path) -> None:
    record = provenance.code_record()
    assert record == {"version": importlib.metadata.version("waymint"), "commit": None, "digest": provenance.code_digest()}

    def git(*words: str) -> str:
        command = ["git", "-C", str(tree), "-c", "user.name=t", "-c", "user.email=t@example.org", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    assert provenance.code_record()["commit"] is None
    git("add", ".")
    git("commit", "-qm", "first")
    assert provenance.code_record()["commit"] == git("rev-parse", "HEAD")
