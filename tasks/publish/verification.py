"""Published releases: verify, pull and sign them. Pulling checks what verifying checks."""

from __future__ import annotations

import functools
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.contract.errors import StoreError, StoreForbidden, StoreLink, StoreMissing
from tasks.contract.refs import FileRef
from tasks.contract.store import Store
from tasks.publish.claims import read_decision
from tasks.publish.layout import MANIFEST, is_signature, release_key, signature_path, version_folder, version_text
from tasks.publish.listing import latest_version, manifest_bytes
from tasks.publish.manifest import Manifest, read_manifest
from tasks.publish.signatures import MOST_BYTES, envelope_fault, key_id, sign_manifest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_LINK = "a link or a special file lies there"
#: Takes the path and the bytes of each sound file.
Keep = Callable[[str, bytes], None]


class Problem(NamedTuple):
    """One way in which a release is not what its manifest says."""

    path: str
    fault: Literal["missing", "extra", "link", "size", "sha256", "manifest", "signature"]
    detail: str


def verify(store: Store, name: str, version: int | None = None, key: Ed25519PublicKey | None = None) -> list[Problem]:
    """Compare a release with its manifest, every byte of it, and the manifest with its signatures.

    Parameters
    ----------
    store : Store
        Where the release is.
    name, version : str, int or None
        Which; None is the latest.
    key : Ed25519PublicKey, optional
        Whose signature the release must have. Without one, a signature must be one of this manifest, whoever made it.

    Returns
    -------
    list of Problem
        Empty for a sound release; by path.

    Raises
    ------
    StoreMissing, StoreError
        If the manifest can't be read.
    """
    number = latest_version(store, name) if version is None else version
    return _compare(store, name, number, manifest_bytes(store, name, number), key, _drop)


def pull(store: Store, name: str, version: int | None, folder: Path, key: Ed25519PublicKey | None = None) -> Manifest:
    """Copy a release into a folder, verified on the way as :func:`verify` does: whole or not at all.

    Parameters
    ----------
    store : Store
        Where the release is.
    name, version : str, int or None
        Which; None is the latest.
    folder : Path
        Must be absent or empty.
    key : Ed25519PublicKey, optional
        Whose signature the release must have.

    Returns
    -------
    Manifest
        Of what was copied.

    Raises
    ------
    StoreError
        If the folder is not empty or can't be written, or the release is not what :func:`verify` calls sound.
    """
    number = latest_version(store, name) if version is None else version
    manifest = manifest_bytes(store, name, number)
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise StoreError(f"folder of pull must be new or empty; got {folder}.", "Give another one.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        # beside the target, so that the last step is one rename
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            target = temporary / version_text(number)
            target.mkdir()
            problems = _compare(store, name, number, manifest, key, lambda path, data: _write(target / path, data))
            if problems:
                raise _unsound(name, number, problems)
            _write(target / MANIFEST, manifest)
            target.replace(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except PermissionError as error:
        raise StoreForbidden(f"folder of pull must be writable; got '{error.strerror}' at {folder}.") from None
    except OSError as error:
        raise StoreError(f"folder of pull must take the release; got '{error.strerror}' at {folder}.") from None
    return read_manifest(manifest, f"{name} version {number}")


def sign(store: Store, name: str, version: int | None, key: Ed25519PrivateKey) -> int:
    """Sign a published release that is sound; signing it again with the same key changes nothing. Return its version.

    Raises
    ------
    StoreError
        If the release is not what :func:`verify` calls sound.
    """
    number = latest_version(store, name) if version is None else version
    manifest = manifest_bytes(store, name, number)
    problems = _compare(store, name, number, manifest, None, _drop)
    if problems:
        raise _unsound(name, number, problems)
    signature = sign_manifest(key, name, number, manifest)
    store.put_new(release_key(name, number, signature.path), signature.text.encode())
    return number


def signature_paths(store: Store, name: str, version: int) -> list[str]:
    """Return the paths of a release's signatures."""
    folder = version_folder(name, version)
    paths = (item.key.removeprefix(folder) for item in store.list(f"{folder}signatures/"))
    return [path for path in paths if is_signature(path)]


def _compare(store: Store, name: str, version: int, data: bytes, key: Ed25519PublicKey | None, keep: Keep) -> list[Problem]:
    """Return how a release differs from its manifest's bytes; the path and bytes of every sound file but the manifest go to ``keep``."""
    manifest = read_manifest(data, f"{name} version {version}")
    problems = [*_manifest_problems(store, manifest, name, version, data)]
    folder = version_folder(name, version)
    there = {item.key.removeprefix(folder): item.bytes for item in store.list(folder)}
    required = None if key is None else signature_path(key_id(key))
    if required is not None and required not in there:
        problems.append(Problem(required, "signature", "the given key has not signed this release"))
    listed = {file.path: file for file in manifest.files}
    for path in sorted(there.keys() | listed.keys() - {MANIFEST}):
        content = functools.partial(store.get, release_key(name, version, path))
        size = there.get(path)
        if is_signature(path):
            by = key if path == required else None
            check = functools.partial(_signature_problems, path, name, version, data, by)
            problems += _content_problems(path, functools.partial(content, MOST_BYTES), keep, check)
        elif path in listed and size is not None and size != listed[path].bytes:  # unread: it may be larger than any memory
            problems.append(Problem(path, "link", _LINK) if _is_link(content) else _size_problem(listed[path], size))
        elif path in listed:
            problems += _content_problems(path, content, keep, functools.partial(_file_problems, listed[path]))
        elif path != MANIFEST:
            problems.append(Problem(path, "extra", f"{there[path]} bytes that the manifest does not list"))
    return sorted(problems)


def _content_problems(path: str, content: Callable[[], bytes], keep: Keep, check: Callable[[bytes], list[Problem]]) -> list[Problem]:
    try:
        data = content()
    except StoreMissing:
        return [Problem(path, "missing", "it is listed and not there")]
    except StoreLink:
        return [Problem(path, "link", _LINK)]
    problems = check(data)
    if not problems:
        keep(path, data)
    return problems


def _is_link(content: Callable[..., bytes]) -> bool:
    """Return whether a link lies there, whose listed size is its own; nothing is read."""
    try:
        content(0)
    except StoreLink:
        return True
    except StoreError:
        return False
    return False


def _signature_problems(
    path: str, name: str, version: int, manifest: bytes, key: Ed25519PublicKey | None, envelope: bytes
) -> list[Problem]:
    fault = envelope_fault(envelope, name, version, manifest, key)
    return [] if fault is None else [Problem(path, "signature", f"the signature {fault}")]


def _drop(path: str, data: bytes) -> None:
    """Keep nothing: the comparison alone is wanted."""


def _unsound(name: str, version: int, problems: list[Problem]) -> StoreError:
    first = min(problems, key=lambda problem: problem.fault != "missing")
    more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
    kind = StoreMissing if first.fault == "missing" else StoreError
    return kind(
        f"{name} version {version} must be as its manifest says; got {first.fault}: {first.path}: {first.detail}{more}.",
        "Nothing was copied or signed; 'waymint releases verify' lists every fault.",
    )


def _manifest_problems(store: Store, manifest: Manifest, name: str, version: int, data: bytes) -> Iterator[Problem]:
    if (manifest.name, manifest.version) != (name, version):
        yield Problem(MANIFEST, "manifest", f"is that of {manifest.name} version {manifest.version}")
    decision = read_decision(store, name, version)
    if decision is not None and (decision.manifest or "").encode() != data:
        yield Problem(MANIFEST, "manifest", "is not the one that was sealed")


def _file_problems(file: FileRef, data: bytes) -> list[Problem]:
    if len(data) != file.bytes:
        return [_size_problem(file, len(data))]
    digest = hashlib.sha256(data).hexdigest()
    if digest != file.sha256:
        return [Problem(file.path, "sha256", f"{digest}, {file.sha256} expected")]
    return []


def _size_problem(file: FileRef, size: int) -> Problem:
    return Problem(file.path, "size", f"{size} bytes, {file.bytes} expected")


def sound_bytes(store: Store, name: str, version: int, file: FileRef) -> bytes:
    """Read a file of a release, checked against its manifest.

    Raises
    ------
    StoreError
        If it is missing, or not what the manifest says.
    """
    data = store.get(release_key(name, version, file.path), file.bytes)
    for problem in _file_problems(file, data):
        message = f"file '{file.path}' of {name} version {version} must be as its manifest says; got {problem.detail}."
        raise StoreError(message, "Nothing was copied; see 'waymint releases verify'.")
    return data


def sound_table(store: Store, name: str, version: int, file: FileRef) -> pa.Table:
    """Read a part of a release as a table, checked against its manifest: bytes first, and rows before any is decoded.

    Raises
    ------
    StoreError
        If it is missing, not what the manifest says, or no Parquet file.
    """
    data = sound_bytes(store, name, version, file)
    try:
        rows = pq.ParquetFile(pa.BufferReader(data)).metadata.num_rows
        if rows == file.rows:
            return pq.read_table(pa.BufferReader(data))
    except pa.ArrowException:
        rows = -1
    got = "no Parquet file" if rows < 0 else f"{rows} rows"
    raise StoreError(
        f"file '{file.path}' of {name} version {version} must be a Parquet file of {file.rows} rows; got {got}.",
        "Whoever made it did not use waymint; see 'waymint releases verify'.",
    )


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
