"""Keys: what both stores accept as one, and the content type of its ending."""

from __future__ import annotations

import posixpath

from tasks.contract.errors import StoreError

# Half-written files of the file store live below this folder; no object may.
TEMPORARY = ".waymint-tmp"

_CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


def checked_key(key: str) -> str:
    """Return the key if it is one.

    Parameters
    ----------
    key : str
        ``"a/b/c"``: at most 1,024 bytes, relative, no part empty, ``"."``, ``".."`` or longer than 255 bytes,
        no control characters or backslashes, not below the folder of half-written files.

    Returns
    -------
    str
        The key itself.

    Raises
    ------
    StoreError
        If it is not a key.
    """
    parts = key.split("/")
    plain = key.isprintable() and "\\" not in key and len(key.encode()) <= 1024
    whole = all(part not in ("", ".", "..") and len(part.encode()) <= 255 for part in parts)
    if not (plain and whole and parts[0] != TEMPORARY):
        raise StoreError(f"key of store must be a relative path without empty parts or '..'; got {key!r}.")
    return key


def checked_prefix(prefix: str) -> str:
    """Return the prefix if a key could start with it; the empty one is the whole store.

    Raises
    ------
    StoreError
        If no key can start with it.
    """
    # a prefix may end anywhere in a key, so its last part may be empty: complete it to a key
    if prefix:
        checked_key(prefix + "x")
    return prefix


def content_type(key: str) -> str:
    """Return the media type of an object by the ending of its key."""
    return _CONTENT_TYPES.get(posixpath.splitext(key)[1].lower(), "application/octet-stream")
