"""A release outside of its store: the folder that pull makes, or that an exported file is unpacked into."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tasks.contract.errors import StoreForbidden, StoreMissing
from tasks.contract.store import Store, StoredObject
from tasks.publish.layout import MANIFEST, version_folder
from tasks.publish.manifest import MOST_BYTES, Manifest, read_manifest

#: What an export adds to a release's own files: no manifest lists it, and no signature covers it.
_ADDITION = re.compile(
    r"CITATION\.(txt|cff)|LICENCE\.txt|codebook\.(html|csv)|datapackage\.json|croissant\.json|odcs\.yaml|data/copy-\d+\.csv"
)


def unpacked_manifest(files: Store) -> Manifest | None:
    """Return the manifest that lies at the root of a store, which then is a release and no store; None where there is none.

    Raises
    ------
    StoreError
        If it is there and can't be read.
    """
    try:
        return read_manifest(files.get(MANIFEST, MOST_BYTES), files.uri)
    except StoreMissing:
        return None


def is_addition(path: str) -> bool:
    """Return whether a file that the manifest does not list is one of those that an export adds."""
    return _ADDITION.fullmatch(path) is not None


class UnpackedRelease:
    """One release as a store that holds nothing else: all that reads a store reads it. Nothing can be written.

    Parameters
    ----------
    files : Store
        Its root is the release's folder.
    name, version : str, int
        What its manifest calls it.
    """

    def __init__(self, files: Store, name: str, version: int) -> None:
        self._files, self._folder = files, version_folder(name, version)

    @property
    def uri(self) -> str:
        """The release's folder."""
        return self._files.uri

    def get(self, key: str, most: int | None = None) -> bytes:
        """Read a file of the release; :class:`StoreMissing` for every other key."""
        if not key.startswith(self._folder):
            raise StoreMissing(f"object '{key}' must be in {self.uri}; it is not.")
        return self._files.get(key.removeprefix(self._folder), most)

    def exists(self, key: str) -> bool:
        """Return whether the release has the file."""
        return key.startswith(self._folder) and self._files.exists(key.removeprefix(self._folder))

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """List the release's files whose key starts with ``prefix``."""
        inner = prefix.removeprefix(self._folder) if prefix.startswith(self._folder) else ""
        for item in self._files.list(inner):
            key = self._folder + item.key
            if key.startswith(prefix):
                yield StoredObject(key, item.bytes, item.modified)

    def put(self, key: str, data: bytes) -> None:
        """Refuse: a copy stays as it was made."""
        raise self._closed(f"{len(data)} bytes for '{key}'")

    def put_new(self, key: str, data: bytes) -> None:
        """Refuse: a copy stays as it was made."""
        raise self._closed(f"{len(data)} bytes for '{key}'")

    def delete(self, key: str) -> None:
        """Refuse: a copy stays as it was made."""
        raise self._closed(f"the removal of '{key}'")

    def _closed(self, change: str) -> StoreForbidden:
        return StoreForbidden(
            f"copy of a release in {self.uri} must stay as it was made; got {change}.", "Change the release in its store."
        )
