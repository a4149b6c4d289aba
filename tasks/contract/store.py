"""The protocol of all stores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol


class StoredObject(NamedTuple):
    """One listed object: its key relative to the store's root, size in bytes, age in UTC seconds."""

    key: str
    bytes: int
    modified: float


class Store(Protocol):
    """Flat keys ("a/b/c", forward slashes) to bytes, below one root URI.

    Every method raises only the ``StoreError`` family: ``StoreMissing`` when the key is absent,
    ``StoreForbidden`` when access is refused, ``StoreConflict`` when a conditional write lost,
    ``StoreUnavailable`` for passing faults. A write is all or nothing: a reader sees the whole object or none.
    """

    @property
    def uri(self) -> str:
        """Root of the store, without a trailing slash (``file:///abs/path`` or ``s3://bucket/prefix``)."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write an object, replacing one that is there."""
        ...

    def put_new(self, key: str, data: bytes) -> None:
        """Write an object only where none is; exactly one of many racing writers wins, the others get ``StoreConflict``."""
        ...

    def get(self, key: str, most: int | None = None) -> bytes:
        """Read an object whole; one of more than ``most`` bytes is refused unread with ``StoreError``."""
        ...

    def exists(self, key: str) -> bool:
        """Return whether the key exists."""
        ...

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """List the objects whose key starts with ``prefix`` in byte order of their keys; none is an empty iterator."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; removing what is not there is no error."""
        ...
