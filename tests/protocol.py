"""What the commit protocol promises, for any store: the suites over files and over S3 inherit it."""

from __future__ import annotations

import signal
import threading
import time
import uuid
from dataclasses import dataclass

import psutil
import pytest

from infra.store import open_store
from tasks.contract.errors import SpecError, StoreConflict, StoreError, StoreMissing
from tasks.publish.commit import claim, finish, reject, seal, sealed_manifest, upload, withdraw
from tasks.publish.identity import check_identity
from tasks.publish.layout import decision_key, manifest_key, part_path, release_key, version_folder
from tasks.publish.releases import gc, latest_version, list_releases, pull, show, verify
from tests.publishing import DECISION, ELSEWHERE, IDENTITY, MANIFEST, NAME, files_of, manifest_of, prepare, publish, spawn

DAY = 86_400.0


def versions(store):
    return [info.version for info in list_releases(store, NAME)]


def keys(store, prefix=""):
    return [item.key for item in store.list(prefix)]


def collect(store, age=DAY):
    return gc(store, NAME, age, time.time())


def together(*acts):
    """Run at the same moment in threads; return results or the errors raised."""
    barrier = threading.Barrier(len(acts))
    results = [None] * len(acts)

    def run(number, act):
        barrier.wait()
        try:
            results[number] = act()
        except StoreError as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@dataclass
class Overwriting:
    """A store whose server ignores the condition of a write, as some do."""

    uri: str

    def __post_init__(self):
        self._store = open_store(self.uri)

    def __getattr__(self, name):
        return getattr(self._store, name)

    def put_new(self, key, data):
        self._store.put(key, data)


class CommitProtocol:
    """Inherit and give a ``store`` fixture."""

    def test_publish(self, store):
        assert publish(store, "run-1") == 1
        assert versions(store) == [1]
        assert verify(store, NAME, 1) == []
        expected = {*files_of("run-1"), MANIFEST}
        assert {key.removeprefix(version_folder(NAME, 1)) for key in keys(store, version_folder(NAME, 1))} == expected
        manifest = show(store, NAME)
        assert manifest.version == 1
        assert manifest.rows == 30

    def test_nothing_is_there_before_the_seal(self, store):
        manifest = prepare(store, "run-1")
        assert list_releases(store) == []
        for act in (
            lambda: show(store, NAME),
            lambda: show(store, NAME, 1),
            lambda: latest_version(store, NAME),
            lambda: verify(store, NAME),
        ):
            with pytest.raises(StoreMissing):
                act()
        ref = seal(store, manifest)
        assert (ref.name, ref.version, ref.uri) == (NAME, 1, f"{store.uri}/{NAME}/v000001")
        assert versions(store) == [1]
        assert store.get(manifest_key(NAME, 1)) == manifest.to_bytes()

    def test_threads_publish_at_once(self, store):
        results = together(*(lambda run=run: publish(store, run) for run in ("run-a", "run-b", "run-c")))
        assert sorted(results) == [1, 2, 3]
        assert versions(store) == [1, 2, 3]
        assert all(verify(store, NAME, version) == [] for version in (1, 2, 3))
        assert len({show(store, NAME, version).run for version in (1, 2, 3)}) == 3

    def test_processes_publish_at_once(self, store):
        writers = [spawn(store.uri, run) for run in ("run-a", "run-b")]
        outputs = [writer.communicate(timeout=120) for writer in writers]
        assert sorted(out.strip() for out, _ in outputs) == ["1", "2"], outputs
        assert versions(store) == [1, 2]
        assert verify(store, NAME, 1) == verify(store, NAME, 2) == []

    def test_sealing_twice_is_once(self, store):
        manifest = prepare(store, "run-1")
        first = seal(store, manifest)
        later = manifest.model_copy(update={"created": "2027-01-01T00:00:00+00:00"})
        assert seal(store, later) == first
        assert show(store, NAME).created == manifest.created
        assert claim(store, NAME, "run-1", "other-token", IDENTITY) == 1
        assert sealed_manifest(store, NAME, 1) == manifest

    def test_only_the_owner_seals(self, store):
        manifest = prepare(store, "run-1")
        with pytest.raises(StoreConflict, match="must be held by run 'thief'"):
            seal(store, manifest.model_copy(update={"run": "thief"}))
        with pytest.raises(StoreConflict):
            seal(store, manifest.model_copy(update={"version": 2}))
        assert versions(store) == []

    def test_seal_wants_all_files_and_no_others(self, store):
        manifest = prepare(store, "run-1")
        store.delete(release_key(NAME, 1, part_path(0, 1)))
        with pytest.raises(StoreError, match="must all be uploaded; got 1 missing"):
            seal(store, manifest)
        assert versions(store) == []
        prepare(store, "run-1")
        upload(store, NAME, 1, "data/copy-0/part-00099.parquet", b"PAR1 of an earlier plan")
        seal(store, manifest)
        assert verify(store, NAME, 1) == []

    def test_upload_adopts_equal_files_and_refuses_others(self, store):
        manifest = prepare(store, "run-1")
        assert prepare(store, "run-1") == manifest
        with pytest.raises(StoreConflict, match=r"report\.html"):
            upload(store, NAME, 1, "report.html", b"other")
        assert len(withdraw(store, NAME, 1)) == len(files_of("run-1"))
        assert keys(store, version_folder(NAME, 1)) == []
        upload(store, NAME, 1, "report.html", b"other")
        assert claim(store, NAME, "run-1", "t", IDENTITY) == 1
        for path in ("manifest.json", "../v000002/report.html", "/report.html", "a//b"):
            with pytest.raises(StoreError):
                upload(store, NAME, 1, path, b"x")

    def test_a_release_is_never_withdrawn(self, store):
        publish(store, "run-1")
        with pytest.raises(StoreConflict, match="sealed"):
            withdraw(store, NAME, 1)
        assert verify(store, NAME, 1) == []

    @pytest.mark.parametrize("last", ["part-00002.parquet", DECISION])
    def test_killed_before_the_decision(self, store, last):
        """Not listed; resumed it keeps its number; collected its number is gone for good."""
        writer = spawn(store.uri, "run-1", last)
        assert writer.wait(120) == -signal.SIGKILL, writer.stderr.read()
        assert versions(store) == []
        assert keys(store, version_folder(NAME, 1)) != []
        assert publish(store, "run-2") == 2  # nobody else takes the number
        assert publish(store, "run-1") == 1
        assert versions(store) == [1, 2]
        assert verify(store, NAME, 1) == []

    def test_killed_and_collected(self, store):
        writer = spawn(store.uri, "run-1", DECISION)
        assert writer.wait(120) == -signal.SIGKILL, writer.stderr.read()
        actions = collect(store)  # young, but its process is gone
        assert {action.action for action in actions} == {"abandoned", "deleted"}
        assert keys(store, version_folder(NAME, 1)) == []
        assert versions(store) == []
        assert publish(store, "run-1") == 2
        assert publish(store, "run-2") == 3
        assert versions(store) == [2, 3]
        assert collect(store) == []

    def test_killed_between_decision_and_manifest(self, store):
        writer = spawn(store.uri, "run-1", MANIFEST)
        assert writer.wait(120) == -signal.SIGKILL, writer.stderr.read()
        assert versions(store) == []
        assert [action.action for action in collect(store)] == ["published"]
        assert versions(store) == [1]
        assert verify(store, NAME, 1) == []
        assert publish(store, "run-1") == 1
        assert publish(store, "run-2") == 2

    def test_killed_between_decision_and_manifest_and_resumed(self, store):
        writer = spawn(store.uri, "run-1", MANIFEST)
        assert writer.wait(120) == -signal.SIGKILL, writer.stderr.read()
        assert finish(store, NAME, 1).version == 1
        assert versions(store) == [1]

    def test_a_sealed_release_with_missing_files_is_not_published(self, store):
        writer = spawn(store.uri, "run-1", MANIFEST)
        assert writer.wait(120) == -signal.SIGKILL, writer.stderr.read()
        store.delete(release_key(NAME, 1, part_path(0, 0)))
        assert [action.action for action in collect(store)] == ["kept"]
        assert versions(store) == []

    def test_zombie(self, store):
        """A writer elsewhere pauses before its seal, is given up, and wakes."""
        manifest = prepare(store, "zombie", ELSEWHERE)
        assert [action.action for action in collect(store, DAY)] == ["kept"]  # too young to be given up
        assert "abandoned" in {action.action for action in collect(store, -60)}
        with pytest.raises(StoreConflict, match="given up"):
            seal(store, manifest)
        assert versions(store) == []
        with pytest.raises(StoreMissing):
            show(store, NAME, 1)
        assert publish(store, "zombie") == 2
        assert versions(store) == [2]
        assert verify(store, NAME, 2) == []

    def test_sleeping_process(self, store):
        """A real process is stopped before its decision, is given up, wakes, and publishes as the next number by itself."""
        writer = spawn(store.uri, "sleeper", DECISION, signal.SIGSTOP)
        try:
            deadline = time.monotonic() + 120
            while psutil.Process(writer.pid).status() != psutil.STATUS_STOPPED and time.monotonic() < deadline:
                time.sleep(0.05)
            assert [action.action for action in collect(store)] == ["kept"]
            assert "abandoned" in {action.action for action in collect(store, -60)}
            writer.send_signal(signal.SIGCONT)
            out, err = writer.communicate(timeout=120)
        finally:
            writer.kill()
            writer.wait()
        assert out.strip() == "2", err
        assert versions(store) == [2]
        assert verify(store, NAME, 2) == []
        assert keys(store, version_folder(NAME, 1)) == []

    def test_zombie_uploads_late(self, store):
        manifest = prepare(store, "zombie", ELSEWHERE)
        collect(store, -60)
        upload(store, NAME, 1, part_path(0, 7), b"PAR1 late")
        with pytest.raises(StoreConflict):
            seal(store, manifest)
        publish(store, "run-2")
        assert versions(store) == [2]
        assert verify(store, NAME, 2) == []
        assert [(action.action, action.key) for action in collect(store)] == [("deleted", release_key(NAME, 1, part_path(0, 7)))]
        assert keys(store, version_folder(NAME, 1)) == []
        assert verify(store, NAME, 2) == []

    def test_seal_and_collection_race(self, store):
        """Either the release exists whole, or nothing of it does and its writer knows."""
        for number in range(4):
            manifest = prepare(store, f"run-{number}", ELSEWHERE)
            sealed, _ = together(lambda manifest=manifest: seal(store, manifest), lambda: collect(store, -60))
            collect(store, -60)
            if isinstance(sealed, StoreConflict):
                assert manifest.version not in versions(store)
                assert keys(store, version_folder(NAME, manifest.version)) == []
            else:
                assert sealed.version == manifest.version
                assert verify(store, NAME, manifest.version) == []

    def test_resumed_twice_at_once(self, store):
        assert together(*[lambda: publish(store, "run-1")] * 3) == [1, 1, 1]
        assert versions(store) == [1]
        assert verify(store, NAME, 1) == []

    def test_heir_keeps_the_claim_alive(self, store):
        """A run killed and resumed is not given up for the death of its first process."""
        writer = spawn(store.uri, "run-1", DECISION)
        assert writer.wait(120) == -signal.SIGKILL, writer.stderr.read()
        manifest = prepare(store, "run-1")
        assert [action.action for action in collect(store)] == ["kept"]
        assert seal(store, manifest).version == 1

    def test_collection_twice_at_once(self, store):
        prepare(store, "zombie", ELSEWHERE)
        together(lambda: collect(store, -60), lambda: collect(store, -60))
        collect(store, -60)
        assert keys(store, version_folder(NAME, 1)) == []
        assert publish(store, "run-2") == 2

    def test_collection_leaves_releases_alone(self, store):
        publish(store, "run-1")
        store.put(f"{NAME}/v000001/data/copy-0/part-00042.parquet", b"PAR1 stray")
        reject(store, NAME, "run-9", {"report.html": b"<html>"})
        before = set(keys(store))
        actions = gc(store, None, -60, time.time())
        assert [(action.action, action.key) for action in actions] == [("deleted", f"{NAME}/v000001/data/copy-0/part-00042.parquet")]
        assert before - set(keys(store)) == {f"{NAME}/v000001/data/copy-0/part-00042.parquet"}
        assert verify(store, NAME, 1) == []

    def test_collection_of_files_nobody_claimed(self, store):
        store.put(f"{NAME}/v000007/data/copy-0/part-00000.parquet", b"PAR1 unexplained")
        assert [action.action for action in collect(store, DAY)] == ["kept"]
        assert [action.action for action in collect(store, -60)] == ["abandoned", "deleted"]
        assert publish(store, "run-1") == 8

    def test_a_release_copied_here_without_its_claims(self, store):
        for path, data in files_of("old").items():
            store.put(release_key(NAME, 5, path), data)
        assert publish(store, "run-1") == 6

    def test_resumed_number_is_only_a_hint(self, store):
        prepare(store, "run-1")
        assert claim(store, NAME, "run-2", "t2", IDENTITY, resumed=1) == 2
        assert claim(store, NAME, "run-2", "t3", IDENTITY, resumed=2) == 2
        assert claim(store, NAME, "run-3", "t4", IDENTITY, resumed=40) == 3

    def test_one_name_one_table(self, store):
        check_identity(store, NAME, IDENTITY)
        publish(store, "run-1")
        check_identity(store, NAME, IDENTITY)
        other = {**IDENTITY, "outcome": "z", "columns": [["w", "string"], ["a", "int8"], ["z", "double"]]}
        for act in (lambda: check_identity(store, NAME, other), lambda: claim(store, NAME, "run-2", "t", other)):
            with pytest.raises(SpecError, match="name of SPEC must be new or stand for the same table") as caught:
                act()
            assert "outcome ('y' there, 'z' here)" in caught.value.message
            assert "only there: y; only here: z; of another type: w" in caught.value.message
            assert "treatment" not in caught.value.message
        assert claim(store, "another", "run-2", "t", other) == 1

    def test_names_race_for_their_table(self, store):
        other = {**IDENTITY, "columns": [*IDENTITY["columns"], ["x", "double"]]}
        results = []
        barrier = threading.Barrier(2)

        def act(run, identity):
            barrier.wait()
            try:
                results.append(claim(store, NAME, run, uuid.uuid4().hex, identity))
            except SpecError:
                results.append("refused")

        threads = [threading.Thread(target=act, args=pair) for pair in (("run-1", IDENTITY), ("run-2", other))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(map(str, results)) == ["1", "refused"]

    def test_rejected_runs_keep_no_rows(self, store):
        uri = reject(store, NAME, "run-1", {"report.html": b"<html>", "checks/result.json": b"{}"})
        assert uri == f"{store.uri}/{NAME}/rejected/run-1"
        assert keys(store) == [f"{NAME}/rejected/run-1/checks/result.json", f"{NAME}/rejected/run-1/report.html"]
        for path, data in (("data/part.parquet", b"x"), ("rows.csv", b"x"), ("report.html", b"PAR1...."), ("../x.html", b"x")):
            with pytest.raises(StoreError):
                reject(store, NAME, "run-2", {"fine.json": b"{}", path: data})
        assert keys(store, f"{NAME}/rejected/run-2") == []
        assert list_releases(store) == []
        assert publish(store, "run-3") == 1

    def test_verify_finds_every_fault(self, store):
        publish(store, "run-1")
        files = files_of("run-1")
        parts = [part_path(0, part) for part in range(3)]
        flipped = bytearray(files[parts[0]])
        flipped[7] ^= 1
        store.put(release_key(NAME, 1, parts[0]), bytes(flipped))
        store.put(release_key(NAME, 1, parts[1]), files[parts[1]] + b"x")
        store.delete(release_key(NAME, 1, parts[2]))
        store.put(release_key(NAME, 1, "data/copy-0/part-00009.parquet"), b"x")
        found = [(problem.path, problem.fault) for problem in verify(store, NAME, 1)]
        assert found == [(parts[0], "sha256"), (parts[1], "size"), (parts[2], "missing"), ("data/copy-0/part-00009.parquet", "extra")]

    def test_verify_finds_a_changed_manifest(self, store):
        publish(store, "run-1")
        manifest = show(store, NAME, 1)
        store.put(manifest_key(NAME, 1), manifest.model_copy(update={"seed": 2}).to_bytes())
        assert [problem.fault for problem in verify(store, NAME, 1)] == ["manifest"]
        store.put(manifest_key(NAME, 1), manifest.model_copy(update={"version": 3}).to_bytes())
        assert [problem.fault for problem in verify(store, NAME, 1)] == ["manifest", "manifest"]

    def test_pull(self, store, tmp_path):
        publish(store, "run-1")
        target = tmp_path / "new" / "here"
        manifest = pull(store, NAME, None, target)
        got = {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}
        assert got == {**files_of("run-1"), MANIFEST: manifest.to_bytes()}
        with pytest.raises(StoreError, match="new or empty"):
            pull(store, NAME, 1, target)
        empty = tmp_path / "empty"
        empty.mkdir()
        pull(store, NAME, 1, empty)
        assert (empty / MANIFEST).is_file()

    def test_pull_of_a_damaged_release_copies_nothing(self, store, tmp_path):
        publish(store, "run-1")
        store.put(release_key(NAME, 1, part_path(0, 2)), b"damaged")
        with pytest.raises(StoreError, match="must be as its manifest says"):
            pull(store, NAME, 1, tmp_path / "target")
        store.delete(release_key(NAME, 1, part_path(0, 2)))
        with pytest.raises(StoreMissing):
            pull(store, NAME, 1, tmp_path / "target")
        assert not (tmp_path / "target").exists()
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".target")]

    def test_unreadable_manifests_are_no_releases(self, store):
        publish(store, "run-1")
        store.put(manifest_key(NAME, 2), b"{broken")
        store.put(manifest_key(NAME, 3), b'{"format": "waymint-release/9"}')
        assert versions(store) == [1]
        with pytest.raises(StoreError, match="must be JSON"):
            show(store, NAME, 2)
        with pytest.raises(StoreError, match="format of manifest") as caught:
            show(store, NAME, 3)
        assert "newer" in caught.value.hint
        assert {action.action for action in collect(store, -60)} == {"kept"}

    def test_list_over_names(self, store):
        publish(store, "run-1")
        version = claim(store, "augmented", "run-2", "t", IDENTITY)
        seal(store, manifest_of(version, "run-2", name="augmented"))
        assert [(info.name, info.version) for info in list_releases(store)] == [("augmented", 1), (NAME, 1)]
        assert [info.name for info in list_releases(store, NAME)] == [NAME]
        assert list_releases(store, "nhe") == []

    def test_decision_is_written_once(self, store):
        publish(store, "run-1")
        with pytest.raises(StoreConflict):
            store.put_new(decision_key(NAME, 1), b'{"abandoned": "late"}')

    def test_server_that_ignores_conditions_is_refused(self, store):
        with pytest.raises(StoreError, match="must honour conditional writes"):
            claim(Overwriting(store.uri), NAME, "run-1", "t", IDENTITY)
