"""Published releases: list them, and read what they say of themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tasks.contract.errors import StoreError, StoreMissing
from tasks.contract.store import Store
from tasks.publish.layout import MANIFEST, manifest_key, name_folder, place_of, version_folder
from tasks.publish.manifest import MOST_BYTES, Manifest, read_manifest


class ReleaseInfo(NamedTuple):
    """One line of a listing: name, version, URI of the folder, UTC time, rows of all copies, files, run id."""

    name: str
    version: int
    uri: str
    created: str
    rows: int
    files: int
    run: str


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
    return read_manifest(manifest_bytes(store, name, number), f"{name} version {number}")


def manifest_bytes(store: Store, name: str, version: int) -> bytes:
    """Read the manifest of a release as it lies there; :class:`StoreMissing` where there is none."""
    try:
        return store.get(manifest_key(name, version), MOST_BYTES)
    except StoreMissing:
        message = f"release {name} version {version} must be in {store.uri}; it is not."
        raise StoreMissing(message, f"See 'waymint releases list {store.uri}/{name}'.") from None


def _published(store: Store, prefix: str) -> Iterator[tuple[str, int]]:
    for item in store.list(prefix):
        place = place_of(item.key)
        if place is not None and place.kind == "release" and place.version is not None and place.path == MANIFEST:
            yield place.name, place.version
