"""One file for a colleague: complete, verified, the same bytes each time, and told where it can't be made."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from flows.releases import verify
from infra.stores.file import FileStore
from tasks.contract.errors import SpecError, StoreError, StoreForbidden, StoreMissing
from tasks.contract.refs import FileRef
from tasks.publish.commit import claim, seal, upload
from tasks.publish.descriptions.files import descriptions
from tasks.publish.export import citation, export
from tasks.publish.layout import REPORT, check_path, manifest_key, part_path, release_key
from tasks.publish.manifest import Manifest, read_manifest
from tasks.publish.releases import pull, show, sign
from tasks.publish.signatures import key_id, new_key_pair, read_private_key, read_public_key
from tasks.publish.unpacked import UnpackedRelease
from tests.publishing import old_manifest

ROOT = Path(__file__).parents[2]
OLD = json.loads((ROOT / "tests/data/manifest-0.1.0.json").read_text())
TABLE = pa.table(
    {
        "x": [0.5, None, 1.25],
        "site": pa.array(["north", "south", 'we"st,'], pa.string()).dictionary_encode(),
        "day": pa.array([0, 86_400_000_000, None], pa.timestamp("us")),
        "lab": [1.0, 2.0, 3.0],
        "drug": [0, 1, 1],
        "score": [0, 1, 0],
    }
)
FOLDER = "trial-v000001/"


def parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """A store with one release of two parts, its manifest as version 0.1.0 wrote them."""
    store = FileStore(tmp_path / "store")
    identity = {"treatment": "drug", "outcome": "score", "columns": []}
    version = claim(store, "trial", OLD["run"], "token", identity)
    files = {part_path(0, 0): parquet(TABLE[:2]), part_path(0, 1): parquet(TABLE[2:]), REPORT: b"<html>", check_path("a.json"): b"{}"}
    refs: list[FileRef] = []
    for path, data in files.items():
        rows = pq.read_metadata(io.BytesIO(data)).num_rows if path.endswith(".parquet") else None
        refs.append(upload(store, "trial", version, path, data, rows))
    seal(store, Manifest.model_validate({**OLD, "version": version, "files": refs}))
    return store


def test_the_file_holds_all_that_a_colleague_needs(store: FileStore, tmp_path: Path) -> None:
    manifest = export(store, "trial", None, tmp_path / "out" / "trial.zip", csv=True, licence="CC BY 4.0")
    with zipfile.ZipFile(tmp_path / "out" / "trial.zip") as archive:
        assert archive.testzip() is None
        content = {name.removeprefix(FOLDER): archive.read(name) for name in archive.namelist()}
    assert list(content) == [
        "CITATION.txt", "LICENCE.txt", "codebook.html", "codebook.csv", "datapackage.json", "croissant.json", "odcs.yaml", "manifest.json",
        "report.html", "checks/a.json", "data/copy-0/part-00000.parquet", "data/copy-0/part-00001.parquet", "data/copy-0.csv",
    ]  # fmt: skip
    assert read_manifest(content["manifest.json"]) == manifest
    assert content["LICENCE.txt"] == b"CC BY 4.0"
    assert content["manifest.json"] == store.get(manifest_key("trial", 1))
    assert hashlib.sha256(content["manifest.json"]).hexdigest().encode() in content["CITATION.txt"]
    read = pa.concat_tables([pq.read_table(io.BytesIO(content[f"data/copy-0/part-0000{part}.parquet"])) for part in (0, 1)])
    assert read.to_pydict() == TABLE.to_pydict()
    plain = pd.read_csv(io.BytesIO(content["data/copy-0.csv"]))
    assert plain["site"].tolist() == ["north", "south", 'we"st,']
    assert plain["x"].isna().tolist() == [False, True, False]
    assert pd.to_datetime(plain["day"])[1] == pd.Timestamp("1970-01-02")


def test_the_same_release_gives_the_same_bytes(store: FileStore, tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        export(store, "trial", 1, tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert b"No licence was named" in archive.read(f"{FOLDER}LICENCE.txt")
        assert f"{FOLDER}data/copy-0.csv" not in archive.namelist()


def test_what_can_not_be_exported_leaves_nothing(store: FileStore, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with pytest.raises(SpecError, match=r"must end in \.zip; got 'trial.tar'"):
        export(store, "trial", 1, folder / "trial.tar")
    with pytest.raises(StoreMissing):
        export(store, "trial", 7, folder / "trial.zip")
    part = next(path for path in (tmp_path / "store").rglob("part-00001.parquet"))
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    with pytest.raises(StoreError, match="must be as its manifest says"):
        export(store, "trial", 1, folder / "trial.zip")
    assert not folder.exists() or list(folder.iterdir()) == []
    (tmp_path / "there.zip").write_bytes(b"mine")
    with pytest.raises(StoreError, match="must be new"):
        export(store, "trial", 1, tmp_path / "there.zip")
    assert (tmp_path / "there.zip").read_bytes() == b"mine"


def test_a_signed_release_is_exported_with_its_signature_and_checked_where_it_is_unpacked(store: FileStore, tmp_path: Path) -> None:
    private, public = new_key_pair()
    (tmp_path / "key.pub").write_bytes(public)
    (tmp_path / "other.pub").write_bytes(new_key_pair()[1])
    sign(store, "trial", 1, read_private_key(private, "test"))
    export(store, "trial", 1, tmp_path / "trial.zip", csv=True)
    with zipfile.ZipFile(tmp_path / "trial.zip") as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / FOLDER.rstrip("/")
    reply, lines = verify(str(folder), tmp_path / "key.pub")
    assert (reply["name"], reply["version"], reply["problems"]) == ("trial", 1, [])
    assert reply["signed_by"] == key_id(read_public_key(public, "test"))
    # what the export adds is not signed, and said to be so: a colleague must not trust the CSV for the signature's sake
    assert {*reply["uncovered"]} == {"CITATION.txt", "LICENCE.txt", "data/copy-0.csv", *descriptions(show(store, "trial"))}
    assert "not covered by the manifest: data/copy-0.csv" in lines
    assert verify(str(folder), tmp_path / "other.pub")[0]["problems"][0]["fault"] == "signature"
    (folder / "data/copy-0/part-00009.parquet").write_bytes(b"beside")
    (folder / "checks/a.json").unlink()
    faults = {(each["path"], each["fault"]) for each in verify(str(folder), tmp_path / "key.pub")[0]["problems"]}
    assert faults == {("data/copy-0/part-00009.parquet", "extra"), ("checks/a.json", "missing")}


def test_a_pulled_folder_is_checked_under_any_name_and_never_written_to(store: FileStore, tmp_path: Path) -> None:
    pull(store, "trial", 1, tmp_path / "Copy of the trial")
    reply, lines = verify(str(tmp_path / "Copy of the trial"))
    assert (reply["problems"], reply["uncovered"]) == ([], [])
    assert lines == ["trial v000001: every file is as its manifest says; not signed"]
    copy = UnpackedRelease(FileStore(tmp_path / "Copy of the trial"), "trial", 1)
    for change in (lambda: copy.put("a", b""), lambda: copy.put_new("a", b""), lambda: copy.delete(manifest_key("trial", 1))):
        with pytest.raises(StoreForbidden, match="must stay as it was made"):
            change()
    assert [item.key for item in copy.list("trial/v000001/data/")] == [release_key("trial", 1, part_path(0, part)) for part in (0, 1)]
    assert copy.exists(manifest_key("trial", 1))
    assert not copy.exists(manifest_key("trial", 2))
    with pytest.raises(StoreMissing):
        copy.get("other/v000001/manifest.json")


def test_a_folder_that_is_no_release_is_told_as_before(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreMissing, match="release 'empty' must be in"):
        verify(str(tmp_path / "empty"))
    (tmp_path / "No name").mkdir()
    with pytest.raises(SpecError, match="must be named by lower case letters"):
        verify(str(tmp_path / "No name"))


def test_a_citation_tells_the_release_from_any_other() -> None:
    manifest = Manifest.model_validate(OLD)
    text = citation(manifest, "0" * 64)
    assert text.startswith(f"trial, version {manifest.version} (2026-11-26)")
    assert "0" * 64 in text


def test_authors_and_licence_of_the_spec_are_in_the_file(store: FileStore, tmp_path: Path) -> None:
    about = {"title": "A trial", "licence": "CC-BY-4.0", "creators": ["Clinic A"]}
    version = claim(store, "named", "run", "token", {"treatment": "drug", "outcome": "score", "columns": []})
    refs = (upload(store, "named", version, part_path(0, 0), parquet(TABLE), 3),)
    seal(store, old_manifest(name="named", run="run", version=version, files=refs, about=about))
    export(store, "named", 1, tmp_path / "named.zip")
    with zipfile.ZipFile(tmp_path / "named.zip") as archive:
        cited = yaml.safe_load(archive.read("named-v000001/CITATION.cff"))
        assert archive.read("named-v000001/LICENCE.txt") == b"Licence of this release: CC-BY-4.0\n"
    assert (cited["authors"], cited["title"], cited["type"]) == ([{"name": "Clinic A"}], "A trial", "dataset")
    assert cited["identifiers"][0]["value"] == f"sha256:{hashlib.sha256(store.get(manifest_key('named', 1))).hexdigest()}"
