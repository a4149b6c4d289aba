"""The catalogue of a store: complete, whole or not at all, and silent on what it can't know."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from infra.store import open_store
from infra.stores.file import FileStore
from tasks.contract.errors import StoreError
from tasks.publish.catalogue.changes import steps
from tasks.publish.catalogue.history import Moment, moment_of, picture
from tasks.publish.catalogue.shelf import Rejected, shelves
from tasks.publish.catalogue.site import write_site
from tasks.publish.commit import claim, seal, upload
from tasks.publish.layout import REPORT, check_path, manifest_key, part_path, release_key
from tasks.publish.rejection import reject
from tests.publishing import IDENTITY, OLD_MANIFEST, old_manifest

RUN = "20261127T010203Z-abc"


def put(store: FileStore, name: str, run: str, **values: object) -> int:
    """Publish a release of one part."""
    version = claim(store, name, run, run, IDENTITY)
    files = {part_path(0, 0): b"PAR1 %d" % len(values), REPORT: f"<html>{name} {version}</html>".encode(), "codebook.html": b"<html>"}
    refs = tuple(upload(store, name, version, path, data, 10 if data[:4] == b"PAR1" else None) for path, data in files.items())
    seal(store, old_manifest(name=name, version=version, run=run, files=refs, **values))
    return version


def refuse(store: FileStore, name: str, gates: dict[str, bool], results: str = "results.json") -> None:
    """Keep the checks of a rejected run."""
    answers = [{"success": holds, "expectation_config": {"kwargs": {"metric": gate}}} for gate, holds in gates.items()]
    record = json.dumps({"created": "2026-11-27T01:02:03+00:00", "results": answers}).encode()
    reject(store, name, RUN, {check_path(results): record, REPORT: b"<html>rejected</html>"})


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    store = FileStore(tmp_path / "store")
    put(store, "trial", "a")
    put(store, "trial", "b")
    put(store, "index", "c")
    refuse(store, "trial", {"fidelity": False, "overlap": True})
    return store


def test_a_site_holds_versions_verdicts_and_copies_of_reports(store: FileStore, tmp_path: Path) -> None:
    written = write_site(store, tmp_path / "site")
    assert written == (2, 3, 1, ())
    files = {str(path.relative_to(tmp_path / "site")): path.read_bytes() for path in (tmp_path / "site").rglob("*") if path.is_file()}
    assert sorted(files) == [
        "catalogue.json", "index.html", "index/index.html", "index/v000001/codebook.html", "index/v000001/report.html", "trial/index.html",
        f"trial/rejected/{RUN}/report.html", "trial/v000001/codebook.html", "trial/v000001/report.html", "trial/v000002/codebook.html",
        "trial/v000002/report.html",
    ]  # fmt: skip
    assert files["trial/v000002/report.html"] == b"<html>trial 2</html>"
    for path, content in files.items():
        for link in re.findall(r'href="([^"#]+)"', content.decode()):
            assert str((Path("/") / path).parent.joinpath(link).resolve().relative_to("/")) in files, (path, link)
    assert b"identical" in files["trial/index.html"]
    assert b"the last run was rejected" in files["index.html"]
    trial = json.loads(files["catalogue.json"])["releases"][1]
    assert [each["built_in"] for each in trial["versions"]] == [pytest.approx(0.116697, abs=1e-6)] * 2
    assert trial["rejected"] == [{"run": RUN, "created": "2026-11-27T01:02:03+00:00", "gates": ["fidelity"]}]


def test_a_site_replaces_an_older_one_and_nothing_else(store: FileStore, tmp_path: Path) -> None:
    write_site(store, tmp_path / "site")
    before = (tmp_path / "site" / "trial" / "index.html").read_bytes()
    write_site(store, tmp_path / "site")
    assert (tmp_path / "site" / "trial" / "index.html").read_bytes() == before
    put(store, "trial", "d", packages={})
    write_site(store, tmp_path / "site")
    after = (tmp_path / "site" / "trial" / "index.html").read_bytes()
    assert b"package numpy" in after
    assert b"v000003/report.html" in after
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("kept")
    with pytest.raises(StoreError, match="must be new, empty or an earlier catalogue"):
        write_site(store, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "site", "store"]


def test_what_is_damaged_is_named_and_hides_nothing(store: FileStore, tmp_path: Path) -> None:
    store.put(release_key("trial", 1, REPORT), b"<html>changed</html>")
    store.put(manifest_key("trial", 2), b"{}")
    store.put(f"trial/rejected/{RUN}/checks/results.json", b"{")
    store.put("trial/rejected/..x/report.html", b"not a run")
    written = write_site(store, tmp_path / "site")
    assert written == (2, 2, 1, ("trial/v000001/report.html",))
    page = (tmp_path / "site" / "trial" / "index.html").read_text()
    assert "Version 2 can't be read" in page
    assert "see its report" in page
    assert shelves(store)[1].rejected == (Rejected(RUN, "2026-11-27T01:02:03+00:00", (), True),)


def test_rejected_augmentations_name_their_gates_too(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "store")
    refuse(store, "filled", {"worth": False}, "worth/results.json")
    (shelf,) = shelves(store)
    assert (shelf.name, shelf.versions, shelf.rejected[0].gates) == ("filled", (), ("worth",))


@pytest.mark.s3
def test_a_bucket_gives_the_pages_of_a_folder(store: FileStore, s3_env: None, bucket: str, tmp_path: Path) -> None:
    there = open_store(f"s3://{bucket}/catalogue")
    for item in store.list(""):
        there.put(item.key, store.get(item.key))
    assert write_site(there, tmp_path / "there") == write_site(store, tmp_path / "here")
    pages = {str(path.relative_to(tmp_path / "here")) for path in (tmp_path / "here").rglob("*") if path.is_file()}
    for path in pages:
        content = (tmp_path / "there" / path).read_text().replace(there.uri, store.uri)
        assert content == (tmp_path / "here" / path).read_text()


def test_an_empty_store_has_a_page(tmp_path: Path) -> None:
    assert write_site(FileStore(tmp_path / "store"), tmp_path / "site") == (0, 0, 0, ())
    assert "holds no release" in (tmp_path / "site" / "index.html").read_text()


def test_steps_name_what_changed() -> None:
    versions = (old_manifest(), old_manifest(version=2), old_manifest(version=3, packages={"numpy": "9"}, seed=1))
    last, first = steps(versions)
    assert (first.identical, first.lines) == (True, ())
    assert ("package numpy", OLD_MANIFEST["packages"]["numpy"], "9") in last.lines
    assert last.headline.startswith("the same bytes of data, ")
    many = old_manifest(version=2, packages={f"package-{number}": "1" for number in range(40)})
    (step,) = steps((old_manifest(), many))
    assert (len(step.lines), step.more > 15) == (25, True)


def test_the_picture_shows_known_numbers_only() -> None:
    moments = [Moment(1, 1.0, 0.5, 1.5, 1.01, 1.2), Moment(2, None, None, None, None, 1.1), Moment(3, None, None, None, None, None)]
    drawn = picture(moments, "trial")
    assert (drawn.count("<circle"), drawn.count("<path"), drawn.count('class="exact"')) == (1, 2, 1)
    assert picture(moments[2:], "trial") == ""
    assert moment_of(old_manifest(effects={"source": {"ate": None}})) == Moment(1, None, None, None, None, None)
    many = picture([Moment(number, 1.0, 0.5, 1.5, 1.0, 1.0) for number in range(1, 200)], "trial")
    assert many.count("<circle") == 60
    assert (">v140<" in many, ">v139<" in many) == (True, False)
