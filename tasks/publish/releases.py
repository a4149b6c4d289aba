"""Published releases: list, show, verify, pull. Compare and collect have files of their own."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from tasks.contract.errors import StoreError, StoreForbidden, StoreLink, StoreMissing
from tasks.contract.refs import FileRef
from tasks.contract.store import Store
from tasks.publish.claims import read_decision
from tasks.publish.collect import Action, gc
from tasks.publish.difference import Change, Difference, EffectChange, diff
from tasks.publish.layout import MANIFEST, manifest_key, name_folder, place_of, release_key, version_folder, version_text
from tasks.publish.manifest import MOST_BYTES, Manifest, read_manifest

__all__ = [
    "Action",
    "Change",
    "Difference",
    "EffectChange",
    "Listing",
    "Problem",
    "ReleaseInfo",
    "diff",
    "gc",
    "latest_version",
    "list_releases",
    "pull",
    "scan_releases",
    "show",
    "sound_bytes",
    "verify",
]


class ReleaseInfo(NamedTuple):
    """One line of a listing: name, version, URI of the folder, UTC time, rows of all copies, files, run id."""

    name: str
    version: int
    uri: str
    created: str
    rows: int
    files: int
    run: str


class Problem(NamedTuple):
    """One way in which a release is not what its manifest says."""

    path: str
    fault: Literal["missing", "extra", "link", "size", "sha256", "manifest"]
    detail: str


class Listing(NamedTuple):
    """The releases of a store, and what looks like one and can't be read.

    Attributes
    ----------
    releases : list of ReleaseInfo
        By name and version.
    unreadable : list of tuple
        Name, version and reason.
    """

    releases: list[ReleaseInfo]
    unreadable: list[tuple[str, int, str]]


def scan_releases(store: Store, name: str | None = None) -> Listing:
    """List the releases of one name, or of all: one that can't be read hides no other.

    Parameters
    ----------
    store : Store
        Where they are.
    name : str, optional
        A release name.

    Returns
    -------
    Listing
    """
    infos, unreadable = [], []
    prefix = "" if name is None else f"{name_folder(name)}v"
    for owner, version in sorted(_published(store, prefix)):
        try:
            manifest = show(store, owner, version)
        except StoreError as error:
            unreadable.append((owner, version, error.message))
            continue
        uri = f"{store.uri}/{version_folder(owner, version)}".rstrip("/")
        infos.append(ReleaseInfo(owner, version, uri, manifest.created, manifest.rows, len(manifest.files), manifest.run))
    return Listing(infos, unreadable)


def list_releases(store: Store, name: str | None = None) -> list[ReleaseInfo]:
    """List the readable releases of one name, or of all; see :func:`scan_releases`."""
    return scan_releases(store, name).releases


def latest_version(store: Store, name: str) -> int:
    """Return the highest published version of a name.

    Raises
    ------
    StoreMissing
        If there is none.
    """
    versions = [version for _, version in _published(store, f"{name_folder(name)}v")]
    if not versions:
        raise StoreMissing(f"release '{name}' must be in {store.uri}; there is none.", f"See 'waymint releases list {store.uri}'.")
    return max(versions)


def show(store: Store, name: str, version: int | None = None) -> Manifest:
    """Read the manifest of a release; the latest where no version is given.

    Raises
    ------
    StoreMissing
        If there is no such release.
    StoreError
        If its manifest is damaged or of another format.
    """
    number = latest_version(store, name) if version is None else version
    owner = f"{name} version {number}"
    try:
        data = store.get(manifest_key(name, number), MOST_BYTES)
    except StoreMissing:
        message = f"release {owner} must be in {store.uri}; it is not."
        raise StoreMissing(message, f"See 'waymint releases list {store.uri}/{name}'.") from None
    return read_manifest(data, owner)


def verify(store: Store, name: str, version: int | None = None) -> list[Problem]:
    """Compare a release with its manifest, every byte of it.

    Returns
    -------
    list of Problem
        Empty for a sound release; by path.

    Raises
    ------
    StoreMissing, StoreError
        If the manifest can't be read.
    """
    manifest = show(store, name, version)
    number = manifest.version if version is None else version
    folder = version_folder(name, number)
    problems = [*_manifest_problems(store, manifest, name, number)]
    listed = {file.path for file in manifest.files} | {MANIFEST}
    for item in store.list(folder):
        path = item.key.removeprefix(folder)
        if path not in listed:
            problems.append(Problem(path, "extra", f"{item.bytes} bytes that the manifest does not list"))
    for file in manifest.files:
        try:
            problems += _file_problems(file, store.get(release_key(name, number, file.path)))
        except StoreMissing:
            problems.append(Problem(file.path, "missing", f"{file.bytes} bytes expected"))
        except StoreLink:
            problems.append(Problem(file.path, "link", "a link or a special file lies there"))
    return sorted(problems)


def pull(store: Store, name: str, version: int | None, folder: Path) -> Manifest:
    """Copy a release into a folder, verified on the way: whole or not at all.

    Parameters
    ----------
    store : Store
        Where the release is.
    name, version : str, int or None
        Which; None is the latest.
    folder : Path
        Must be absent or empty.

    Returns
    -------
    Manifest
        Of what was copied.

    Raises
    ------
    StoreError
        If the folder is not empty or can't be written, or a file is not what the manifest says.
    """
    manifest = show(store, name, version)
    number = manifest.version if version is None else version
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise StoreError(f"folder of pull must be new or empty; got {folder}.", "Give another one.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        # beside the target, so that the last step is one rename
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            target = temporary / version_text(number)
            target.mkdir()
            for file in manifest.files:
                _write(target / file.path, sound_bytes(store, name, number, file))
            _write(target / MANIFEST, store.get(manifest_key(name, number)))
            target.replace(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except PermissionError as error:
        raise StoreForbidden(f"folder of pull must be writable; got '{error.strerror}' at {folder}.") from None
    except OSError as error:
        raise StoreError(f"folder of pull must take the release; got '{error.strerror}' at {folder}.") from None
    return manifest


def _published(store: Store, prefix: str) -> Iterator[tuple[str, int]]:
    for item in store.list(prefix):
        place = place_of(item.key)
        if place is not None and place.kind == "release" and place.version is not None and place.path == MANIFEST:
            yield place.name, place.version


def _manifest_problems(store: Store, manifest: Manifest, name: str, version: int) -> Iterator[Problem]:
    if (manifest.name, manifest.version) != (name, version):
        yield Problem(MANIFEST, "manifest", f"is that of {manifest.name} version {manifest.version}")
    decision = read_decision(store, name, version)
    if decision is not None and (decision.manifest or "").encode() != store.get(manifest_key(name, version)):
        yield Problem(MANIFEST, "manifest", "is not the one that was sealed")


def _file_problems(file: FileRef, data: bytes) -> list[Problem]:
    if len(data) != file.bytes:
        return [Problem(file.path, "size", f"{len(data)} bytes, {file.bytes} expected")]
    digest = hashlib.sha256(data).hexdigest()
    if digest != file.sha256:
        return [Problem(file.path, "sha256", f"{digest}, {file.sha256} expected")]
    return []


def sound_bytes(store: Store, name: str, version: int, file: FileRef) -> bytes:
    """Read a file of a release, checked against its manifest.

    Raises
    ------
    StoreError
        If it is missing, or not what the manifest says.
    """
    data = store.get(release_key(name, version, file.path))
    for problem in _file_problems(file, data):
        message = f"file '{file.path}' of {name} version {version} must be as its manifest says; got {problem.detail}."
        raise StoreError(message, "Nothing was copied; see 'waymint releases verify'.")
    return data


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
