"""What a command is given to read: a table, or a published release in its place. No Prefect needed."""

from __future__ import annotations

from typing import NamedTuple

from infra.store import filesystem, open_store, split_release_uri
from tasks.contract.errors import SpecError, StoreForbidden, StoreMissing
from tasks.contract.refs import Parent
from tasks.contract.store import Store
from tasks.publish.layout import name_folder
from tasks.publish.manifest import Manifest
from tasks.publish.releases import show
from tasks.source.builtin import BUILTIN, require_builtin
from tasks.source.formats import format_of
from tasks.source.locate import locate

#: What a release's folder holds even where nothing was published under the name.
TRACES = ("claims/", "rejected/")


class PublishedRelease(NamedTuple):
    """A published release and the store it lies in."""

    store: Store
    manifest: Manifest

    def parent(self) -> Parent:
        """Return how what is made from it names it."""
        name = self.manifest.name
        uri = f"{self.store.uri}/{name_folder(name)}".rstrip("/")
        return Parent(uri=uri, name=name, version=self.manifest.version, manifest=self.manifest.sha256())


def find_table(uri: str, owner: str = "uri of source") -> None:
    """Refuse a table that is not there.

    Parameters
    ----------
    uri : str
        A built-in table, a file, a folder or a glob, as the user wrote it.
    owner : str
        What it was given as, for messages.

    Raises
    ------
    SpecError
        If no such table is built in, or the URI is of no known scheme.
    SourceError
        If nothing is there, or access is refused.
    """
    if uri.startswith(BUILTIN):
        require_builtin(uri.removeprefix(BUILTIN))
        return
    fs, path = filesystem(uri)
    locate(fs, path, uri, owner)


def find_release(uri: str, owner: str) -> PublishedRelease | None:
    """Return the release that a URI names; None where it names a table.

    Parameters
    ----------
    uri : str
        As the user wrote it: a table, or ``STORE/NAME[@VERSION]``.
    owner : str
        What the URI was given as, for messages.

    Raises
    ------
    SpecError
        If releases of that name were made there, but this one was not published.
    StoreError
        If its manifest can't be read.
    """
    if uri.startswith(BUILTIN) or format_of(uri) is not None:
        return None
    try:
        where, name, version = split_release_uri(uri.partition("/rejected/")[0])
    except SpecError:
        return None
    store = open_store(where)
    try:
        if "/rejected/" not in uri:
            return PublishedRelease(store, show(store, name, version))
        traced = any(True for _ in store.list(f"{name_folder(name)}rejected/"))
    except StoreMissing:
        traced = any(item for trace in TRACES for item in store.list(name_folder(name) + trace))
    except StoreForbidden:
        return None  # a table in a bucket that may not be listed
    if not traced:
        return None
    raise SpecError(
        f"{owner} must name a published release; got '{uri}', which is not published.",
        f"See 'waymint releases list {where}/{name}'.",
    )
