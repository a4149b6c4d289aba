"""The commit protocol: how a release comes to exist all at once, whoever dies when.

1. :func:`claim` takes a number: one ``owner.json`` per number gets through the store's ``put_new``.
2. :func:`upload` puts files below the number's folder. Nobody else writes there.
3. :func:`seal` writes the claim's one decision, with the texts of manifest and signature inside, then the signature, and only then
   the manifest: a signed release is never seen without its signature. A writer
   that garbage collection gave up in the meantime finds "abandoned" there and gets :class:`StoreConflict`: it claims
   another number. A writer that dies between decision and manifest is finished by whoever comes next.

Numbers are never used again, so a part that arrives late lands where no release can ever be.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

from tasks.contract.errors import StoreConflict, StoreError
from tasks.contract.refs import FileRef, ReleaseRef
from tasks.contract.store import Store
from tasks.publish.claiming import claim
from tasks.publish.claims import Decision, read_decision, read_owner
from tasks.publish.layout import (
    MANIFEST,
    decision_key,
    is_signature,
    manifest_key,
    release_key,
    version_folder,
)
from tasks.publish.manifest import Manifest, read_manifest
from tasks.publish.rejection import reject
from tasks.publish.signatures import sign_manifest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["claim", "finish", "reject", "seal", "sealed_manifest", "upload", "withdraw"]

_RETRY = "Run the same command again: it claims another number and publishes there."


def upload(store: Store, name: str, version: int, path: str, data: bytes, rows: int | None = None) -> FileRef:
    """Put one file of a claimed version, or adopt the same file where it is already there.

    Parameters
    ----------
    store : Store
        Where the release lands.
    name, version : str, int
        As claimed.
    path : str
        Inside the release.
    data : bytes
        The whole file.
    rows : int, optional
        Rows in it, for a part.

    Returns
    -------
    FileRef
        For the manifest.

    Raises
    ------
    StoreConflict
        If other bytes are there: an earlier attempt of this run wrote them. :func:`withdraw` clears them.
    """
    if path == MANIFEST or is_signature(path):
        raise StoreError(f"path of release file must not be that of manifest or signature; got '{path}'.", "seal() writes it.")
    try:
        store.put_new(release_key(name, version, path), data)
    except StoreConflict as error:
        hint = "An earlier try of this run left another file there; withdraw it and upload again."
        raise StoreConflict(error.message, hint) from None
    return FileRef(path=path, rows=rows, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def seal(store: Store, manifest: Manifest, key: Ed25519PrivateKey | None = None) -> ReleaseRef:
    """Make a release exist. Sealing again by the same run returns the same release.

    Parameters
    ----------
    store : Store
        Where the release lands.
    manifest : Manifest
        Lists every uploaded file; its ``run`` is the claim's.
    key : Ed25519PrivateKey, optional
        Signs the release.

    Returns
    -------
    ReleaseRef
        Of what is published: the first manifest that was sealed, should a twin have been faster.

    Raises
    ------
    StoreConflict
        If the claim is another run's, or was abandoned: claim again and upload again.
    StoreError
        If a listed file is not there.
    """
    name, version = manifest.name, manifest.version
    owner = read_owner(store, name, version)
    if owner is None or owner.run != manifest.run:
        raise StoreConflict(f"claim of {name} version {version} must be held by run '{manifest.run}'; it is not.", _RETRY)
    done = finish(store, name, version)
    if done is not None:
        return done
    _require_complete(store, manifest)
    data = manifest.to_bytes()
    signature = None if key is None else sign_manifest(key, name, version, data)
    decision = Decision(sealed=manifest.run, manifest=data.decode(), signature=signature, by=owner.token)
    with contextlib.suppress(StoreConflict):  # another process decided: finish() reads how
        store.put_new(decision_key(name, version), decision.to_bytes())
    done = finish(store, name, version)
    if done is None:
        raise StoreError(f"decision on {name} version {version} must be there once written; it vanished.", "Was the store emptied?")
    return done


def finish(store: Store, name: str, version: int) -> ReleaseRef | None:
    """Publish signature and manifest of a version whose claim is sealed: idempotent, and safe in any process.

    Returns
    -------
    ReleaseRef or None
        None where nothing is decided yet.

    Raises
    ------
    StoreConflict
        If the claim was abandoned.
    """
    decision = read_decision(store, name, version)
    if decision is None:
        return None
    if decision.manifest is None:
        raise StoreConflict(f"claim of {name} version {version} must be open; it was given up ({decision.abandoned}).", _RETRY)
    data = decision.manifest.encode()
    if decision.signature is not None:
        store.put_new(release_key(name, version, decision.signature.path), decision.signature.text.encode())
    store.put_new(manifest_key(name, version), data)
    uri = f"{store.uri}/{version_folder(name, version)}".rstrip("/")
    return ReleaseRef(uri=uri, name=name, version=version, sha256=hashlib.sha256(data).hexdigest())


def sealed_manifest(store: Store, name: str, version: int) -> Manifest | None:
    """Return the manifest that a claim was sealed with; None where it is open or abandoned."""
    decision = read_decision(store, name, version)
    if decision is None or decision.manifest is None:
        return None
    return read_manifest(decision.manifest.encode(), f"{name} version {version}")


def withdraw(store: Store, name: str, version: int) -> tuple[str, ...]:
    """Remove what a run that failed has uploaded; its claim stays, so a resumed run gets the same number.

    Only one process of a run may do so at a time: a twin that seals meanwhile would lose its files.

    Returns
    -------
    tuple of str
        The removed keys.

    Raises
    ------
    StoreConflict
        If the version is sealed: a release is never taken back.
    """
    removed = []
    folder = version_folder(name, version)
    for item in list(store.list(folder)):
        decision = read_decision(store, name, version)
        if decision is not None and decision.sealed is not None:
            raise StoreConflict(f"version {version} of {name} must be open to be withdrawn; it is sealed.")
        store.delete(item.key)
        removed.append(item.key)
    return tuple(removed)


def _require_complete(store: Store, manifest: Manifest) -> None:
    """Check that the folder holds what the manifest lists; remove what it does not."""
    name, version = manifest.name, manifest.version
    folder = version_folder(name, version)
    there = {item.key.removeprefix(folder): item for item in store.list(folder)}
    lacking = [file.path for file in manifest.files if file.path not in there or there[file.path].bytes != file.bytes]
    if lacking:
        finish(store, name, version)  # an abandoned claim explains it, and is another error
        raise StoreError(f"files of {name} version {version} must all be uploaded; got {len(lacking)} missing, e.g. '{lacking[0]}'.")
    listed = {file.path for file in manifest.files}
    for path in sorted(there.keys() - listed):
        store.delete(there[path].key)
