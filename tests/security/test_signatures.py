"""Whoever can write to a store can't make a release that a reader who has the signer's public key accepts."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra import cli
from infra.rollback import check_latest, remember_latest
from infra.settings import Settings
from infra.signing import read_private_file
from infra.stores.file import FileStore
from tasks.contract.errors import SpecError, StoreError
from tasks.contract.refs import FileRef
from tasks.publish import signatures
from tasks.publish.collect import gc
from tasks.publish.commit import finish, seal
from tasks.publish.layout import MANIFEST, decision_key, is_signature, manifest_key, release_key, signature_path, version_folder
from tasks.publish.manifest import read_manifest
from tasks.publish.releases import pull, sign, verify
from tests.publishing import NAME, FatalStore, manifest_of, prepare

PRIVATE, PUBLIC = signatures.new_key_pair()
KEY, TRUSTED = signatures.read_private_key(PRIVATE, "test"), signatures.read_public_key(PUBLIC, "test")
OTHER = signatures.read_private_key(signatures.new_key_pair()[0], "test")
PATH = signature_path(signatures.key_id(TRUSTED))


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """A store with one signed release."""
    store = FileStore(tmp_path / "store")
    seal(store, prepare(store, "run-1"), KEY)
    return store


def faults(store: FileStore, version: int = 1) -> set[tuple[str, str]]:
    return {(problem.path, problem.fault) for problem in verify(store, NAME, version, TRUSTED)}


def test_a_signed_release_is_sound_with_and_without_the_key(store: FileStore, tmp_path: Path) -> None:
    assert verify(store, NAME, 1) == verify(store, NAME, 1, TRUSTED) == []
    assert pull(store, NAME, 1, tmp_path / "copy", TRUSTED).version == 1
    assert (tmp_path / "copy" / PATH).read_bytes() == store.get(release_key(NAME, 1, PATH))
    assert [path.name for path in sorted((tmp_path / "store" / NAME / "v000001/data/copy-0").iterdir())] == [
        f"part-0000{part}.parquet" for part in range(3)
    ]


def forged_manifest(store: FileStore) -> None:
    """Replace manifest and seal: what a sealed, unsigned release can't show."""
    data = store.get(manifest_key(NAME, 1)).replace(b'"estimate": 3.0', b'"estimate": 9.0')
    decision = json.loads(store.get(decision_key(NAME, 1)))
    store.put(manifest_key(NAME, 1), data)
    store.put(decision_key(NAME, 1), json.dumps({**decision, "manifest": data.decode()}).encode())


def forged_part(store: FileStore) -> None:
    """Replace a part, and its digest in manifest and seal."""
    part = b"PAR1 forged"
    values = json.loads(store.get(manifest_key(NAME, 1)))
    values["files"][1] |= {"bytes": len(part), "sha256": hashlib.sha256(part).hexdigest()}
    store.put(release_key(NAME, 1, values["files"][1]["path"]), part)
    data = read_manifest(json.dumps(values).encode()).to_bytes()
    store.put(manifest_key(NAME, 1), data)
    store.put(decision_key(NAME, 1), json.dumps({"sealed": "run-1", "manifest": data.decode()}).encode())


def resigned(store: FileStore) -> None:
    """Forge, and sign with another key under the trusted key's file name."""
    forged_manifest(store)
    forged = signatures.sign_manifest(OTHER, NAME, 1, store.get(manifest_key(NAME, 1)))
    store.put(release_key(NAME, 1, PATH), forged.text.encode())


def claimed_key(store: FileStore) -> None:
    """Forge, sign with another key and write the trusted key's id beside the signature."""
    forged_manifest(store)
    forged = signatures.sign_manifest(OTHER, NAME, 1, store.get(manifest_key(NAME, 1)))
    envelope = json.loads(forged.text)
    envelope["signatures"][0]["keyid"] = signatures.key_id(TRUSTED)
    store.put(release_key(NAME, 1, PATH), json.dumps(envelope).encode())


def listed_signature(store: FileStore) -> None:
    """Forge, and let the manifest list the signature as one of its files."""
    content = b"no signature"
    values = json.loads(store.get(manifest_key(NAME, 1)))
    values["files"].append({"path": PATH, "rows": None, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()})
    data = json.dumps(values).encode()
    store.put(release_key(NAME, 1, PATH), content)
    store.put(manifest_key(NAME, 1), data)
    store.put(decision_key(NAME, 1), json.dumps({"sealed": "run-1", "manifest": data.decode()}).encode())


def is_refused(store: FileStore) -> bool:
    try:
        return verify(store, NAME, 1, TRUSTED) != []
    except StoreError:  # what could not even be read
        return True


FORGERIES: dict[str, Callable[[FileStore], Any]] = {
    "unsigned": lambda store: store.delete(release_key(NAME, 1, PATH)),
    "empty": lambda store: store.put(release_key(NAME, 1, PATH), b""),
    "too large": lambda store: store.put(release_key(NAME, 1, PATH), b" " * (signatures.MOST_BYTES + 1)),
    "deep": lambda store: store.put(release_key(NAME, 1, PATH), b"[" * 50_000),
    "no signature inside": lambda store: store.put(
        release_key(NAME, 1, PATH), json.dumps(json.loads(store.get(release_key(NAME, 1, PATH))) | {"signatures": []}).encode()
    ),
    "manifest": forged_manifest,
    "part": forged_part,
    "signed by another key": resigned,
    "under the id of the trusted key": claimed_key,
    "signature listed as a file": listed_signature,
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES.keys())
def test_a_forgery_is_refused(store: FileStore, tmp_path: Path, forge: Callable[[FileStore], None]) -> None:
    forge(store)
    assert is_refused(store)
    with pytest.raises(StoreError):
        pull(store, NAME, 1, tmp_path / "copy", TRUSTED)
    assert not (tmp_path / "copy").exists()


def test_what_is_signed_once_is_no_signature_of_anything_else(store: FileStore, tmp_path: Path) -> None:
    """The signed version 1, copied to where version 2 would be, and below another name."""
    for name, version in ((NAME, 2), ("other", 1)):
        for path in [*(file.path for file in read_manifest(store.get(manifest_key(NAME, 1))).files), MANIFEST, PATH]:
            store.put(release_key(name, version, path), store.get(release_key(NAME, 1, path)))
        assert {problem.fault for problem in verify(store, name, version, TRUSTED)} == {"manifest", "signature"}


def test_pulling_checks_what_verifying_checks(store: FileStore, tmp_path: Path) -> None:
    store.put(release_key(NAME, 1, "data/copy-0/part-00099.parquet"), b"PAR1 beside")
    assert [problem.fault for problem in verify(store, NAME, 1)] == ["extra"]
    with pytest.raises(StoreError, match="extra: data/copy-0/part-00099"):
        pull(store, NAME, 1, tmp_path / "copy")
    store.delete(release_key(NAME, 1, "data/copy-0/part-00099.parquet"))
    data = store.get(manifest_key(NAME, 1))
    store.put(manifest_key(NAME, 1), data.replace(b'"estimate": 3.0', b'"estimate": 9.0'))
    with pytest.raises(StoreError, match="is not the one that was sealed"):
        pull(store, NAME, 1, tmp_path / "copy")


def test_a_release_without_a_signature_verifies_as_before(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "store")
    seal(store, prepare(store, "run-1"))
    assert verify(store, NAME, 1) == []
    assert faults(store) == {(PATH, "signature")}
    assert sign(store, NAME, 1, KEY) == sign(store, NAME, 1, KEY) == 1
    assert verify(store, NAME, 1, TRUSTED) == []
    sign(store, NAME, 1, OTHER)
    assert verify(store, NAME, 1, OTHER.public_key()) == verify(store, NAME, 1, TRUSTED) == []
    forged_part(store)
    with pytest.raises(StoreError):  # the signatures there speak of another manifest
        sign(store, NAME, 1, KEY)


class Died(Exception):
    """The writer ends here."""


@pytest.mark.parametrize("last", [".dsse.json", MANIFEST])
def test_a_signed_release_is_never_seen_without_its_signature(tmp_path: Path, last: str) -> None:
    """Its writer dies before a key; whoever finishes the release writes the signature too, before the manifest."""
    store = FileStore(tmp_path / "store")
    manifest = prepare(store, "run-1")

    def die(number: int, frame: object) -> None:
        raise Died

    previous = signal.signal(signal.SIGUSR1, die)
    try:
        with pytest.raises(Died):
            seal(FatalStore(store, last, signal.SIGUSR1), manifest, KEY)
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert not store.exists(manifest_key(NAME, 1))
    assert [action.action for action in gc(store, NAME, 0.0, time.time() + 10)] == ["published"]
    assert verify(store, NAME, 1, TRUSTED) == []
    finish(store, NAME, 1)
    assert gc(store, NAME, 0.0, time.time() + 10) == []
    assert store.exists(release_key(NAME, 1, PATH))


def test_garbage_collection_keeps_signatures_and_nothing_that_only_looks_like_one(store: FileStore) -> None:
    for path in ("signatures/note.txt", "signatures/deep/0123456789abcdef.dsse.json", "data/signatures/0123456789abcdef.dsse.json"):
        assert not is_signature(path)
        store.put(release_key(NAME, 1, path), b"x")
    assert len(gc(store, NAME, 0.0, time.time() + 10)) == 3
    assert {item.key.removeprefix(version_folder(NAME, 1)) for item in store.list(version_folder(NAME, 1) + "signatures")} == {PATH}
    with pytest.raises(ValueError, match="must not list"):
        manifest_of(1, "run-1", (FileRef(path=PATH, rows=None, bytes=1, sha256="0" * 64),))


def test_the_signature_is_an_in_toto_statement_that_openssl_accepts(store: FileStore, tmp_path: Path) -> None:
    envelope = json.loads(store.get(release_key(NAME, 1, PATH)))
    payload = base64.b64decode(envelope["payload"])
    assert json.loads(payload) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": f"{NAME}/v000001/manifest.json", "digest": {"sha256": hashlib.sha256(store.get(manifest_key(NAME, 1))).hexdigest()}}
        ],
        "predicateType": "urn:waymint:release:v1",
        "predicate": {"name": NAME, "version": 1},
    }
    if shutil.which("openssl") is None:
        pytest.skip("no openssl: signatures were checked by cryptography alone")
    message = b" ".join([b"DSSEv1", b"28", b"application/vnd.in-toto+json", str(len(payload)).encode(), payload])
    (tmp_path / "message").write_bytes(message)
    (tmp_path / "signature").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    (tmp_path / "key.pub").write_bytes(PUBLIC)
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key.pub", "-rawin", "-in", "message", "-sigfile", "signature"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604])
def test_a_private_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "key").write_bytes(PRIVATE)
    (tmp_path / "key").chmod(mode)
    with pytest.raises(SpecError, match="must be closed to others"):
        read_private_file(tmp_path / "key")


@pytest.mark.parametrize("pem", [b"", b"no key", PUBLIC, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_private_key_is_refused(pem: bytes) -> None:
    with pytest.raises(SpecError, match="must be an Ed25519 private key"):
        signatures.read_private_key(pem, "test")
    with pytest.raises(SpecError, match="must be an Ed25519 public key"):
        signatures.read_public_key(PRIVATE, "test")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["waymint", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return call


def test_the_commands_make_sign_verify_and_refuse(tmp_path: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    store = FileStore(tmp_path / "store")
    seal(store, prepare(store, "run-1"))
    key, where = tmp_path / "key", f"{tmp_path}/store/{NAME}"
    assert run("releases", "keygen", key)[0] == 0
    assert (key.stat().st_mode & 0o777, run("releases", "keygen", key)[0]) == (0o600, 2)
    code, out, _ = run("releases", "verify", where, "--key", f"{key}.pub")
    assert (code, "the given key has not signed this release" in out) == (5, True)
    code, _, err = run("releases", "pull", where, "--to", tmp_path / "copy", "--key", f"{key}.pub")
    assert (code, "the given key has not signed this release" in err) == (5, True)
    assert not (tmp_path / "copy").exists()
    assert run("releases", "sign", where, "--key", key)[0] == 0
    code, out, _ = run("releases", "verify", where, "--key", f"{key}.pub", "--json")
    assert (code, len(json.loads(out)["signed_by"])) == (0, 64)
    assert run("releases", "pull", where, "--to", tmp_path / "copy", "--key", f"{key}.pub")[0] == 0
    assert run("releases", "verify", where, "--key", key)[0] == 2  # the private key is not for readers
    assert "signed, which only --key checks" in run("releases", "verify", where)[1]


def publish(store: FileStore, run_id: str) -> None:
    seal(store, prepare(store, run_id), KEY)


def test_an_older_version_is_no_latest_for_who_has_read_a_newer_one(
    tmp_path: Path, run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who can write to the store removes the latest version: the older one is signed as well."""
    monkeypatch.setenv("WAYMINT_HOME", str(tmp_path / "home"))
    store, where = FileStore(tmp_path / "store"), f"{tmp_path}/store/{NAME}"
    (tmp_path / "key.pub").write_bytes(PUBLIC)
    with_key = ("--key", tmp_path / "key.pub")
    publish(store, "run-1")
    publish(store, "run-2")
    assert run("releases", "verify", f"{where}@1", *with_key)[0] == 0
    assert run("releases", "pull", where, "--to", tmp_path / "copy", *with_key)[0] == 0
    shutil.rmtree(tmp_path / "store" / NAME / "v000002")
    for command in (("verify", where), ("pull", where, "--to", tmp_path / "again")):
        code, _, err = run("releases", *command, *with_key)
        assert (code, f"latest version of '{NAME}' must be at least 2" in err) == (5, True), err
    assert not (tmp_path / "again").exists()
    # named it is still what was signed; so it is for who never saw the newer one, and for who asks for no signature
    assert run("releases", "verify", f"{where}@1", *with_key)[0] == 0
    assert run("releases", "verify", where)[0] == 0
    monkeypatch.setenv("WAYMINT_HOME", str(tmp_path / "another home"))
    assert run("releases", "verify", where, *with_key)[0] == 0


def test_what_was_read_is_kept_by_store_name_and_key(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    remember_latest(settings, "file:///a", NAME, "key", 3)
    remember_latest(settings, "file:///a", NAME, "key", 2)
    with pytest.raises(StoreError, match="at least 3"):
        check_latest(settings, "file:///a", NAME, "key", 2)
    check_latest(settings, "file:///a", NAME, "key", 3)
    for store, name, key in (("file:///b", NAME, "key"), ("file:///a", "other", "key"), ("file:///a", NAME, "other")):
        check_latest(settings, store, name, key, 1)
    [kept] = (tmp_path / "home" / "latest").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    kept.write_bytes(b"{")
    check_latest(settings, "file:///a", NAME, "key", 1)
