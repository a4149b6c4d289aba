"""A published law: what a release says of its mechanisms, read back from its files."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.contract.columns import nuisance_columns
from tasks.contract.errors import StoreError
from tasks.contract.refs import FileRef
from tasks.contract.roles import TableSchema
from tasks.contract.store import Store
from tasks.mechanisms.law_record import read_law
from tasks.mechanisms.laws.protocol import OutcomeLaw
from tasks.source.rows import canonical


class Published(NamedTuple):
    """Where one copy of a release keeps its law.

    Attributes
    ----------
    store : str
        URI of the store.
    folder : str
        Key prefix of the version, with its slash.
    copy : int
        Number of the copy.
    parts : tuple of FileRef
        Its rows, in order.
    mechanisms : FileRef
        The laws of the outcome, one for each copy.
    outcome_range : tuple of two float, or None
        What outcomes were clipped to.
    """

    store: str
    folder: str
    copy: int
    parts: tuple[FileRef, ...]
    mechanisms: FileRef
    outcome_range: tuple[float, float] | None

    @property
    def owner(self) -> str:
        """What errors call it."""
        return self.folder.rstrip("/")


def rows_of(store: Store, law_files: Published, schema: TableSchema, most: int) -> pa.Table:
    """Read the covariates of a copy with what the mechanisms say of them.

    Parameters
    ----------
    store : Store
        Where the release is.
    law_files : Published
        The copy.
    schema : TableSchema
        Of the manifest.
    most : int
        Rows that are enough: drawn rows are exchangeable, so the first ones do.

    Returns
    -------
    pyarrow.Table
        Columns by id, and those of :func:`tasks.contract.nuisance.nuisance_names`.

    Raises
    ------
    StoreError
        If a file is not what the manifest says.
    """
    return pa.concat_tables(_parts(store, law_files, schema, most)).unify_dictionaries()


def _parts(store: Store, law_files: Published, schema: TableSchema, most: int) -> Iterator[pa.Table]:
    left = most
    for part in law_files.parts:
        if left <= 0:
            return
        released = pq.read_table(io.BytesIO(sound(store, law_files, part))).slice(0, left)
        rows = canonical(released, schema, "parquet")
        if rows.num_rows != released.num_rows:
            raise StoreError(f"rows of {law_files.owner}/{part.path} must all have treatment and outcome; {rows.num_rows} have.")
        for name, shown in nuisance_columns(len(schema.arms)).items():
            rows = rows.append_column(name, released.column(shown))
        left -= rows.num_rows
        yield rows


def law_of(store: Store, law_files: Published) -> OutcomeLaw:
    """Read the law of a copy's outcome.

    Raises
    ------
    StoreError
        If the file is not what the manifest says, or holds no law of the copy.
    """
    laws = json.loads(sound(store, law_files, law_files.mechanisms)).get("laws", [])
    if law_files.copy >= len(laws):
        raise StoreError(f"laws of {law_files.owner} must be one for each copy; got {len(laws)}, none for copy {law_files.copy}.")
    return read_law(laws[law_files.copy], f"copy {law_files.copy} of {law_files.owner}")


def sound(store: Store, law_files: Published, file: FileRef) -> bytes:
    """Return the bytes of a release's file, after checking them against the manifest.

    Raises
    ------
    StoreError
        If size or SHA-256 differ, or the file is not there.
    """
    data = store.get(law_files.folder + file.path, file.bytes)
    if len(data) != file.bytes or hashlib.sha256(data).hexdigest() != file.sha256:
        raise StoreError(
            f"file '{file.path}' of {law_files.owner} must be as its manifest says; got {len(data)} bytes of another SHA-256.",
            "Nothing was simulated; see 'waymint releases verify'.",
        )
    return data
