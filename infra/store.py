"""URIs: to a store, to a release in it, to a file system; and reports put into a store."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.fs

from infra.settings import s3_bucket_owner, s3_kms_key
from infra.stores.file import FileStore
from infra.stores.keys import checked_prefix
from tasks.contract.errors import SpecError, StoreError
from tasks.contract.spec import NAME_PATTERN, StoreSpec
from tasks.contract.store import Store

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_FOLDER = re.compile(r"v(\d{6,})")
_VERSION = re.compile(r"v?(\d{1,9})")


def open_store(uri: str, private: bool = False, options: StoreSpec | None = None) -> Store:
    """Open the store at a URI; nothing is written and no request is sent.

    Parameters
    ----------
    uri : str
        ``file:///abs``, ``file://./relative``, a bare path, or ``s3://bucket/prefix``.
    private : bool
        A workspace: its files are their owner's alone.
    options : StoreSpec, optional
        Encryption and owner of a bucket; those of the environment where it names none.

    Returns
    -------
    Store

    Raises
    ------
    SpecError
        If the URI is none of these.
    """
    scheme, rest = _split(uri, "store.uri")
    if scheme == "file":
        return FileStore(Path(rest), private)
    # boto3 takes a third of a second to import: only who needs it pays
    from infra.stores.s3 import S3Options, S3Store

    bucket, prefix = _bucket(uri, rest, "store.uri")
    kms_key, owner = (None, None) if options is None else (options.kms_key, options.bucket_owner)
    return S3Store(bucket, prefix, S3Options(kms_key or s3_kms_key(), owner or s3_bucket_owner()))


def absolute_uri(uri: str, base: str = "") -> str:
    """Return a URI that means the same in every folder: a relative path goes below ``base``, all else stays as it is.

    Parameters
    ----------
    uri : str
        As in :func:`open_store`, a glob, or the name of a built-in table.
    base : str
        An absolute folder; the current one where left out.
    """
    scheme, mark, rest = uri.partition("://")
    path = rest if mark else uri
    if (mark and scheme.lower() != "file") or path.startswith("/") or (not mark and re.match(r"[a-z][a-z0-9+.-]+:", uri)):
        return uri
    return "file://" + os.path.normpath(os.path.join(base or os.getcwd(), path))  # noqa: PTH109, PTH118 - a glob is no Path


def filesystem(uri: str) -> tuple[pyarrow.fs.FileSystem, str]:
    """Return the Arrow file system of a source's URI and the path in it.

    Parameters
    ----------
    uri : str
        As in :func:`open_store`; globs are passed on as they are.

    Returns
    -------
    tuple of pyarrow.fs.FileSystem and str
        For S3 the path is ``bucket/key``; endpoint and credentials are those boto3 finds.

    Raises
    ------
    SpecError
        If the URI is of another scheme.
    StoreForbidden
        If S3 credentials are missing.
    """
    scheme, rest = _split(uri, "source.uri")
    if scheme == "file":
        return pyarrow.fs.LocalFileSystem(), os.path.abspath(rest)  # noqa: PTH100 - a glob is no Path, and links stay
    from infra.stores.aws import open_filesystem

    bucket, key = _bucket(uri, rest, "source.uri")
    return open_filesystem(), f"{bucket}/{key}".rstrip("/")


def split_release_uri(uri: str) -> tuple[str, str, int | None]:
    """Split the URI of a release into store, name and version.

    Parameters
    ----------
    uri : str
        ``STORE_URI/NAME``, ``STORE_URI/NAME@3``, ``STORE_URI/NAME@v000003``, or the folder of a release as printed on
        publishing, ``STORE_URI/NAME/v000003``.

    Returns
    -------
    tuple of str, str and int or None
        Store URI as it was written, name, version (None: the latest).

    Raises
    ------
    SpecError
        If there is no name in it, or what follows ``@`` is no version.
    """
    form = "Write STORE_URI/NAME or STORE_URI/NAME@VERSION, e.g. ./releases/nhefs@2."
    scheme, mark, rest = uri.partition("://") if "://" in uri else ("", "", uri)
    above, _, last = rest.rstrip("/").rpartition("/")
    version: int | None = None
    folder = _FOLDER.fullmatch(last)
    if folder and re.fullmatch(NAME_PATTERN, above.rpartition("/")[2]):
        version = int(folder[1])
        above, _, last = above.rpartition("/")
    name, at, number = last.partition("@")
    if at:
        match = _VERSION.fullmatch(number)
        if version is not None or not match:
            raise SpecError(f"version of release must be a number; got '{number}'.", form)
        version = int(match[1])
    if version == 0:
        raise SpecError("version of release must be at least 1; got 0.", form)
    if not re.fullmatch(NAME_PATTERN, name) or (scheme and not above):
        raise SpecError(f"release must be named by lower case letters, digits and dashes below a store; got '{uri}'.", form)
    store = above or ("/" if rest.startswith("/") else ".")
    return f"{scheme}{mark}{store}", name, version


def _split(uri: str, owner: str) -> tuple[str, str]:
    """Return scheme and the rest; a bare path is a file."""
    scheme, mark, rest = uri.partition("://")
    if not mark:
        scheme, rest = "file", uri
    scheme = scheme.lower()
    if scheme not in ("file", "s3"):
        raise SpecError(f"{owner} of SPEC must start with file:// or s3://, or be a path; got '{uri}'.")
    if not rest:
        raise SpecError(f"{owner} of SPEC must name a place; got '{uri}'.")
    if scheme == "file" and mark and not rest.startswith(("/", "./", "../")) and rest not in (".", ".."):
        raise SpecError(f"{owner} of SPEC must be file:///absolute or file://./relative; got '{uri}'.", f"Did you mean 'file://./{rest}'?")
    return scheme, rest


def _bucket(uri: str, rest: str, owner: str) -> tuple[str, str]:
    bucket, _, key = rest.partition("/")
    key = key.strip("/")
    if not _BUCKET.fullmatch(bucket):
        raise SpecError(f"{owner} of SPEC must be s3://bucket/prefix with a valid bucket name; got '{uri}'.")
    try:
        checked_prefix(key)
    except StoreError as error:
        raise SpecError(f"{owner} of SPEC must have a prefix without empty parts or '..'; got '{uri}'.", error.hint) from None
    return bucket, key


def put_report(store: Store, folder: str, name: str, page: bytes, record: Mapping[str, Any]) -> str:
    """Write ``name.html`` and ``name.json`` below a folder of a store (a key without a slash at its end); return the folder's URI."""
    store.put(f"{folder}/{name}.html", page)
    store.put(f"{folder}/{name}.json", f"{json.dumps(record, indent=2, sort_keys=True, allow_nan=False)}\n".encode())
    return f"{store.uri}/{folder}"
