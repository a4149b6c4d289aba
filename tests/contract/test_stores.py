"""One behaviour for all stores, and what each says when the world fails it."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from infra.store import filesystem, open_store, split_release_uri
from infra.stores.file import FileStore
from tasks.contract.errors import SpecError, StoreConflict, StoreError, StoreForbidden, StoreMissing, StoreUnavailable

NOBODY = 65534
MIB = 2**20


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.s3)])
def store(request, tmp_path):
    if request.param == "file":
        return open_store(f"file://{tmp_path}/store")
    request.getfixturevalue("s3_env")
    return open_store(f"s3://{request.getfixturevalue('bucket')}/{uuid.uuid4().hex}/deep")


@pytest.fixture
def s3_store(s3_env, bucket):
    return open_store(f"s3://{bucket}/{uuid.uuid4().hex}")


def keys(store, prefix=""):
    return [item.key for item in store.list(prefix)]


# --- what every store does ---


def test_put_get_replace(store):
    store.put("a/b.txt", b"one")
    assert store.get("a/b.txt") == b"one"
    store.put("a/b.txt", b"")
    assert store.get("a/b.txt") == b""


def test_absent_key(store):
    store.put("a/b", b"1")
    assert store.exists("a/b")
    for key in ("a", "a/c", "a/b/c", "x/y/z"):
        assert not store.exists(key)
        with pytest.raises(StoreMissing, match=key):
            store.get(key)


def test_an_object_beyond_the_limit_is_refused(store):
    store.put("a", b"12345")
    assert store.get("a", most=5) == b"12345"
    with pytest.raises(StoreError, match="must have at most 4 bytes; got 5"):
        store.get("a", most=4)


def test_put_new_refuses_other_bytes_and_takes_the_same(store):
    store.put_new("k/1", b"mine")
    store.put_new("k/1", b"mine")
    with pytest.raises(StoreConflict, match="k/1"):
        store.put_new("k/1", b"other")
    assert store.get("k/1") == b"mine"
    store.delete("k/1")
    store.put_new("k/1", b"other")
    assert store.get("k/1") == b"other"


def test_race_of_put_new_has_one_winner(store):
    writers = 8
    barrier = threading.Barrier(writers)
    won: list[bytes] = []
    lost: list[bytes] = []

    def write(number):
        data = f"writer {number}".encode()
        barrier.wait()
        try:
            store.put_new("race/key", data)
            won.append(data)
        except StoreConflict:
            lost.append(data)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert len(lost) == writers - 1
    assert store.get("race/key") == won[0]
    assert keys(store) == ["race/key"]


def test_a_reader_sees_the_whole_object_or_none(store):
    """Two contents alternate under one key; every read is exactly one of them."""
    contents = {bytes([letter]) * MIB for letter in b"ab"}
    stop = threading.Event()

    def write():
        while not stop.is_set():
            for data in contents:
                store.put("big", data)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        reads = 0
        while reads < 40:
            with contextlib.suppress(StoreMissing):
                assert store.get("big") in contents
                assert [item.bytes for item in store.list("big")] == [MIB]
                reads += 1
    finally:
        stop.set()
        writer.join()


def test_list_is_in_byte_order_and_by_plain_prefix(store):
    awkward = ["o/a b", "o/a/b", "o/a-b/c", "o/a.b", "o/é ü", "o/p=1/x+y.parquet", "o/%41", "o/Z", "o/a/c", "oa", "p/o/a"]
    for key in awkward:
        store.put(key, key.encode())
    assert keys(store) == sorted(awkward, key=str.encode)
    assert keys(store, "o/") == sorted((key for key in awkward if key.startswith("o/")), key=str.encode)
    assert keys(store, "o/a") == sorted((key for key in awkward if key.startswith("o/a")), key=str.encode)
    assert keys(store, "o/a/") == ["o/a/b", "o/a/c"]
    assert keys(store, "absent/") == []
    for item in store.list(""):
        assert store.get(item.key) == item.key.encode()
        assert item.bytes == len(item.key.encode())
        assert abs(item.modified - time.time()) < 600


def test_list_of_nothing(store):
    assert keys(store) == []


def test_delete(store):
    store.put("d/e/f", b"1")
    store.put("d/g", b"2")
    store.delete("d/e/f")
    store.delete("d/e/f")
    store.delete("d/e")
    store.delete("never/was")
    assert keys(store) == ["d/g"]
    assert not store.exists("d/e/f")


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../a", "a/../b", "a/.", "a\\b", "a\nb", "a\0b", "x" * 256, ".waymint-tmp/a"])
def test_what_is_no_key(store, key):
    for act in (store.get, store.exists, store.delete, lambda k: store.put(k, b"1"), lambda k: store.put_new(k, b"1")):
        with pytest.raises(StoreError, match="key of store must be"):
            act(key)


def test_what_is_no_prefix(store):
    with pytest.raises(StoreError, match="key of store must be"):
        keys(store, "../")


def test_uri_opens_the_same_store(store):
    store.put("a", b"1")
    assert open_store(store.uri).get("a") == b"1"
    assert open_store(store.uri + "/").uri == store.uri
    assert not store.uri.endswith("/")


def test_pickles(store):
    store.put("a", b"1")
    twin = pickle.loads(pickle.dumps(store))
    assert twin.uri == store.uri
    assert twin.get("a") == b"1"


def test_errors_pickle(store):
    with pytest.raises(StoreMissing) as caught:
        store.get("absent")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


# --- URIs ---


def test_relative_uris(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for uri in ("file://./rel/x", "rel/x", "./rel/x", f"file://{tmp_path}/rel/x", "file://./rel/y/../x"):
        assert open_store(uri).uri == f"file://{tmp_path}/rel/x"
    assert list(tmp_path.iterdir()) == []  # opening writes nothing


@pytest.mark.parametrize(
    "uri", ["", "gs://b/p", "file://rel", "s3://", "s3://B_d", "s3://bucket/a//b", "s3://bucket/../x", "file://", "http://x/y"]
)
def test_uris_of_no_store(uri):
    with pytest.raises(SpecError, match=r"store\.uri of SPEC must"):
        open_store(uri)


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("s3://b/p/nhefs@2", ("s3://b/p", "nhefs", 2)),
        ("s3://b/nhefs", ("s3://b", "nhefs", None)),
        ("./releases/nhefs", ("./releases", "nhefs", None)),
        ("nhefs@v000003", (".", "nhefs", 3)),
        ("/abs/store/nhefs@17", ("/abs/store", "nhefs", 17)),
        ("/nhefs", ("/", "nhefs", None)),
        ("file://./releases/nhefs@1", ("file://./releases", "nhefs", 1)),
        ("file:///abs/nhefs/", ("file:///abs", "nhefs", None)),
        ("s3://b/p/nhefs/v000012", ("s3://b/p", "nhefs", 12)),
        ("file:///abs/user@home/nhefs/v000012/", ("file:///abs/user@home", "nhefs", 12)),
    ],
)
def test_release_uris(uri, parts):
    assert split_release_uri(uri) == parts


@pytest.mark.parametrize("uri", ["s3://bucket", "", "./Releases/NHEFS", "nhefs@latest", "nhefs@0", "nhefs@", "a/nhefs/v000001@2x", "a/@2"])
def test_uris_of_no_release(uri):
    with pytest.raises(SpecError):
        split_release_uri(uri)


def test_filesystem_of_local_paths(tmp_path):
    (tmp_path / "t.csv").write_text("x\n1\n")
    system, path = filesystem(f"file://{tmp_path}/t.csv")
    assert system.open_input_file(path).read() == b"x\n1\n"
    with pytest.raises(SpecError, match=r"source\.uri of SPEC"):
        filesystem("gs://b/x")


# --- the file store and its world ---


def test_files_are_as_readable_as_any(tmp_path):
    old = os.umask(0o022)
    try:
        FileStore(tmp_path / "s").put_new("a/b", b"1")
    finally:
        os.umask(old)
    assert (tmp_path / "s/a/b").stat().st_mode & 0o777 == 0o644


def test_delete_leaves_no_empty_folder(tmp_path):
    store = FileStore(tmp_path / "s")
    store.put("a/b/c", b"1")
    store.put("a/d", b"1")
    store.delete("a/b/c")
    assert not (tmp_path / "s/a/b").exists()
    store.delete("a/d")
    assert not (tmp_path / "s/a").exists()
    assert (tmp_path / "s").is_dir()


def test_put_and_delete_of_neighbours_race(tmp_path):
    """Deleting removes folders under a writer's feet; no write may get lost by it."""
    store = FileStore(tmp_path / "s")

    def churn(number):
        for _ in range(100):
            store.put(f"a/b/c/{number}", b"1")
            assert store.get(f"a/b/c/{number}") == b"1"
            store.delete(f"a/b/c/{number}")

    faults = []

    def run(number):
        try:
            churn(number)
        except StoreError as error:
            faults.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_first_writers_of_a_new_store_race(tmp_path):
    """The root appears while others look for it: nobody may take it for a file."""
    faults = []

    def write(store, number, barrier):
        barrier.wait()
        try:
            store.put_new(f"a/{number}", b"1")
        except StoreError as error:
            faults.append(error)

    for turn in range(60):
        store, barrier = FileStore(tmp_path / f"{turn}" / "deep" / "s"), threading.Barrier(4)
        threads = [threading.Thread(target=write, args=(store, number, barrier)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(keys(store)) == 4
    assert faults == []


def test_writers_without_hard_links_race(tmp_path):
    """The stand-in for hard links: the same exclusion, driven directly since this file system has links."""
    store = FileStore(tmp_path / "s")
    store.put("seed", b"")
    barrier = threading.Barrier(8)
    results = []

    def write(number):
        with store._written("k", f"{number}".encode()) as temporary:
            barrier.wait()
            try:
                store._place(temporary, "k", store._move_if_absent)
                results.append(number)
            except FileExistsError:
                results.append(None)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [number for number in results if number is not None]
    assert len(won) == 1
    assert len(results) == 8
    assert store.get("k") == f"{won[0]}".encode()


def test_leftovers_of_killed_writers(tmp_path):
    temporary = tmp_path / "s/.waymint-tmp"
    temporary.mkdir(parents=True)
    (temporary / "old").write_bytes(b"half")
    (temporary / "young").write_bytes(b"half")
    os.utime(temporary / "old", (1, 1))
    store = FileStore(tmp_path / "s")
    assert keys(store) == []
    store.put("a", b"1")
    assert keys(store) == ["a"]
    assert {path.name for path in temporary.iterdir()} == {"young"}


def test_store_path_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    for uri in (f"{tmp_path}/file", f"{tmp_path}/file/below"):
        store = open_store(uri)
        for act in (lambda s: s.put("a", b"1"), lambda s: s.put_new("a", b"1"), lambda s: s.get("a"), lambda s: s.exists("a"), keys):
            with pytest.raises(StoreError, match="uri of store must be a folder"):
                act(store)
    assert (tmp_path / "file").read_text() == "x"


def test_key_below_an_object(tmp_path):
    store = FileStore(tmp_path / "s")
    store.put("a", b"1")
    for act in (store.put, store.put_new):
        with pytest.raises(StoreError, match="below another object"):
            act("a/b", b"2")
    assert keys(store) == ["a"]


@contextlib.contextmanager
def unprivileged(folder: Path):
    """Take away access to a folder: by its mode, and from root by being nobody for a while."""
    folder.chmod(0o500)
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
        try:
            yield
        finally:
            os.seteuid(0)
    else:
        yield
    folder.chmod(0o700)


def test_forbidden_folder(tmp_path):
    store = FileStore(tmp_path / "s")
    store.put("a/b", b"1")
    with unprivileged(tmp_path / "s"):
        for act in (lambda: store.put("c", b"1"), lambda: store.put_new("c", b"1")):
            with pytest.raises(StoreForbidden, match="access to store"):
                act()
    assert keys(store) == ["a/b"]


def test_full_disk(tmp_path):
    """A real file system of 256 KiB."""
    mount = tmp_path / "small"
    mount.mkdir()
    made = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(mount)], capture_output=True, check=False
    )
    if not made or made.returncode:
        pytest.skip("may not mount a tmpfs: the full disk was left to the test of the file size limit")
    try:
        store = FileStore(mount / "s")
        store.put("fits", b"1" * 65536)
        for act in (store.put, store.put_new):
            with pytest.raises(StoreError, match="space of store") as caught:
                act("large", b"1" * 1_000_000)
            assert "left" in caught.value.message
        assert keys(store) == ["fits"]
        assert list((mount / "s/.waymint-tmp").iterdir()) == []
        store.put("fits-again", b"1" * 65536)
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=False)


_LIMITED = """
import resource, sys
from infra.store import open_store
from tasks.contract.errors import StoreError
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
store = open_store(sys.argv[1])
store.put("fits", b"1" * 1000)
try:
    store.put_new("large", b"1" * 1_000_000)
except StoreError as error:
    print(type(error).__name__, error.message)
"""


def test_file_size_limit(tmp_path):
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", _LIMITED, str(tmp_path / "s")], capture_output=True, text=True, cwd=root, check=False)
    assert done.stdout.startswith("StoreError space of store"), done.stderr
    assert keys(FileStore(tmp_path / "s")) == ["fits"]
    assert list((tmp_path / "s/.waymint-tmp").iterdir()) == []


# --- S3 and its world ---


@pytest.mark.s3
def test_objects_above_the_part_size(s3_store):
    data = os.urandom(MIB) * 65
    s3_store.put("large.parquet", data)
    assert s3_store.get("large.parquet") == data
    with pytest.raises(StoreConflict):
        s3_store.put_new("large.parquet", data[:-1])
    s3_store.put_new("large.parquet", data)


@pytest.mark.s3
def test_content_types(s3_store, s3_env, bucket):
    prefix = s3_store.uri.removeprefix(f"s3://{bucket}/")
    expected = {"report.html": "text/html; charset=utf-8", "manifest.json": "application/json", "x.bin": "application/octet-stream"}
    for key, kind in expected.items():
        s3_store.put_new(key, b"1")
        assert s3_env.client().head_object(Bucket=bucket, Key=f"{prefix}/{key}")["ContentType"] == kind


@pytest.mark.s3
def test_list_goes_over_many_pages(s3_store):
    for number in range(1005):
        s3_store.put(f"many/{number:05d}", b"")
    assert keys(s3_store, "many/") == [f"many/{number:05d}" for number in range(1005)]


@pytest.mark.s3
def test_stores_of_one_bucket_are_apart(s3_env, bucket):
    tag = uuid.uuid4().hex
    one, other = open_store(f"s3://{bucket}/{tag}"), open_store(f"s3://{bucket}/{tag}-b")
    one.put("a", b"1")
    assert keys(other) == []
    assert keys(open_store(f"s3://{bucket}"), f"{tag}/") == [f"{tag}/a"]


@pytest.mark.s3
def test_wrong_secret_is_forbidden(s3_env, bucket, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    store = open_store(f"s3://{bucket}/x")
    for act in (
        lambda: store.put("a", b"1"),
        lambda: store.put_new("a", b"1"),
        lambda: store.get("a"),
        lambda: store.exists("a"),
        lambda: keys(store),
    ):
        with pytest.raises(StoreForbidden, match="access to store"):
            act()


@pytest.mark.s3
def test_no_credentials_are_forbidden(s3_env, bucket, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreForbidden, match="credentials of store") as caught:
        open_store(f"s3://{bucket}/x").get("a")
    assert "AWS_ACCESS_KEY_ID" in caught.value.hint
    with pytest.raises(StoreForbidden):
        filesystem(f"s3://{bucket}/x")


@pytest.mark.s3
def test_missing_bucket(s3_env):
    store = open_store("s3://no-such-bucket-here/x")
    # not put: this server makes the bucket then
    for act in (lambda: store.get("a"), lambda: store.exists("a"), lambda: keys(store), lambda: store.delete("a")):
        with pytest.raises(StoreMissing, match=r"bucket of store .* must exist; got 'no-such-bucket-here'"):
            act()


def test_server_that_is_not_there(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:9") as caught:
        open_store("s3://bucket/x").get("a")
    assert caught.value.retryable


@pytest.mark.parametrize(("name", "value"), [("AWS_ENDPOINT_URL", "no url"), ("AWS_PROFILE", "nobody")])
def test_bad_aws_settings(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(StoreError, match="of store must be"):
        open_store("s3://bucket/x")


@pytest.mark.s3
def test_filesystem_of_s3_reads_what_the_store_wrote(s3_store):
    s3_store.put("t/part.csv", b"x\n1\n")
    system, path = filesystem(f"{s3_store.uri}/t/part.csv")
    assert system.open_input_file(path).read() == b"x\n1\n"
