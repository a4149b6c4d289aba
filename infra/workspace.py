"""Where a run keeps its intermediate files: real rows, models, drawn parts. Never the store."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import pickle
import secrets
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import LocalFileSystem
from pydantic import BaseModel, ConfigDict

from infra.ownership import is_signed, sign
from infra.store import absolute_uri, filesystem, open_store
from tasks.contract.errors import StoreError, StoreMissing, StoreUnavailable
from tasks.contract.refs import ModelRef, PartitionRef, Ref
from tasks.contract.spec import Spec
from tasks.contract.store import Store

RefT = TypeVar("RefT", bound=Ref)

RUN_RECORD = "run.json"
_LOST = "Nobody else may remove or change files there (engine.workspace, WAYMINT_WORKSPACE). The same command makes anew what is lost."
# Hexadecimal digits of a signature.
_SIGNATURE = 64


class Workspace:
    """Named objects of one run. A finished object has a receipt with its sha256; one without receipt does not exist.

    Names are pure functions of (spec, step, part), so a task that runs twice writes the same bytes to the same name.

    Parameters
    ----------
    uri : str
        ``file://...`` or ``s3://...``, the run's own folder.
    folder : str
        Where objects are written and looked for below it; references hold whole keys, so what lies in other folders of the run can be read.
    """

    def __init__(self, uri: str, folder: str = "") -> None:
        self.uri = uri
        self._below = f"{folder}/" if folder else ""
        self._store: Store = open_store(uri, private=True)
        self._files, self._path = filesystem(uri)

    @property
    def folder(self) -> Path | None:
        """The folder on this machine; None in a bucket."""
        return Path(self._path) if isinstance(self._files, LocalFileSystem) else None

    # -- receipts ------------------------------------------------------------------------------------------------
    def finished(self, key: str, kind: type[RefT]) -> RefT | None:
        """Return the reference of an object that an earlier run of this user finished, after checking receipt and bytes."""
        key = self._below + key
        try:
            ref = self._receipt(self._store.get(f"{key}.receipt"), kind)
            if ref is None or ref.key != key:
                return None
            data = self._store.get(key)
        except StoreMissing:
            return None
        return ref if hashlib.sha256(data).hexdigest() == ref.sha256 else None

    def _receipt(self, receipt: bytes, kind: type[RefT]) -> RefT | None:
        """Read a receipt; None where it is not signed by this user's runs: whoever can write here must not run code."""
        try:
            signature, body = bytes.fromhex(receipt[:_SIGNATURE].decode()), receipt[_SIGNATURE + 1 :]
            return kind.model_validate_json(body) if is_signed(self._message(body), signature) else None
        except ValueError:  # no receipt of ours
            return None

    def _message(self, body: bytes) -> bytes:
        """Return what is signed: a receipt of another workspace is none of this one."""
        return self.uri.encode() + b"\0" + body

    def _finish(self, ref: RefT, data: bytes) -> RefT:
        self._put(ref.key, data)
        body = ref.model_dump_json().encode()
        self._put(f"{ref.key}.receipt", sign(self._message(body)).hex().encode() + b"\n" + body)
        return ref

    def _put(self, key: str, data: bytes) -> None:
        try:
            self._store.put(key, data)
        except StoreError as error:
            hint = "Free space there, or choose another place: engine.workspace of the SPEC, or WAYMINT_WORKSPACE."
            raise type(error)(f"workspace of the run must be writable; {self.uri} was not: {error.message}", hint) from None

    # -- tables --------------------------------------------------------------------------------------------------
    def put_table(self, key: str, table: pa.Table, part: int = 0) -> PartitionRef:
        """Write a table as one Parquet file."""
        return self.put_encoded(key, parquet_bytes(table), rows=table.num_rows, part=part)

    def put_encoded(self, key: str, data: bytes, rows: int, part: int = 0) -> PartitionRef:
        """Write a table that is Parquet already."""
        ref = PartitionRef(key=self._below + key, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), part=part, rows=rows)
        return self._finish(ref, data)

    def table(self, ref: Ref | Sequence[Ref], columns: list[str] | None = None) -> pa.Table:
        """Read a table, or some of its columns; of several partitions one after the other."""
        if not isinstance(ref, Ref):
            return pa.concat_tables([self.table(each, columns) for each in ref])
        with _readable(self.uri, ref.key), self._files.open_input_file(f"{self._path}/{ref.key}") as source:
            return pq.ParquetFile(source).read(columns=columns)

    def first_rows(self, parts: Sequence[PartitionRef], rows: int, columns: list[str] | None = None) -> pa.Table:
        """Read the first rows of a table: a snapshot is in hash order and drawn rows are exchangeable, so they are a random sample."""
        tables, wanted = [], rows
        for part in parts:
            tables.append(self.table(part, columns).slice(0, wanted))
            wanted -= tables[-1].num_rows
            if wanted <= 0:
                break
        return pa.concat_tables(tables, promote_options="default")

    def tagged_row_group(self, ref: Ref, tag: str, value: int) -> pa.Table | None:
        """Read the row group that the file's metadata names for a value: ``{tag: {value: row group}}``; None if it names none."""
        with _readable(self.uri, ref.key), self._files.open_input_file(f"{self._path}/{ref.key}") as source:
            file = pq.ParquetFile(source)
            groups = json.loads(file.schema_arrow.metadata[tag.encode()])
            number = groups.get(str(value))
            return None if number is None else file.read_row_group(number).replace_schema_metadata(None)

    # -- bytes, models, records ----------------------------------------------------------------------------------
    def put_bytes(self, key: str, data: bytes) -> Ref:
        """Write an object."""
        return self._finish(Ref(key=self._below + key, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data)), data)

    def read(self, key: str) -> bytes:
        """Read an object by its key."""
        with _readable(self.uri, key):
            return self._store.get(key)

    def put_model(self, key: str, model: object) -> ModelRef:
        """Pickle a fitted model; :meth:`model` reads it back only by its reference, which holds its SHA-256."""
        buffer = io.BytesIO()
        pickle.dump(model, buffer, protocol=pickle.HIGHEST_PROTOCOL)
        data = buffer.getvalue()
        return self._finish(ModelRef(key=self._below + key, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data)), data)

    def model(self, ref: Ref) -> Any:
        """Read a pickled model of this run; a process keeps the few it used last.

        Raises
        ------
        StoreError
            If its bytes are not those that were written: nothing of them is executed.
        """
        return _load(self.uri, ref.key, ref.sha256)

    def unpickle(self, ref: Ref) -> Any:
        """Read a pickled object of this run as :meth:`model` does, and keep nothing."""
        return _load.__wrapped__(self.uri, ref.key, ref.sha256)

    def record(self, key: str) -> dict[str, Any] | None:
        """Read a small JSON record, None where there is none."""
        try:
            return dict(json.loads(self._store.get(self._below + key)))
        except StoreMissing:
            return None

    def load_or_create_run(self, draw: str | None = None) -> tuple[dict[str, Any], bool]:
        """Return the run that the workspace holds, or a new one, and whether it is a new one.

        Parameters
        ----------
        draw : str, optional
            Name of a run that draws rows of its own. What a run of another name left is removed.

        Returns
        -------
        tuple of dict and bool
            The record has ``id``, ``created`` (UTC) and ``draw``.
        """
        record = self.record(RUN_RECORD)
        if record is not None and draw in (None, record.get("draw")):
            return {"draw": None} | record, False
        if record is not None:
            self.clear()
        now = datetime.now(UTC)
        new = {"id": f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}", "created": now.isoformat(timespec="seconds"), "draw": draw}
        return new, True

    def put_record(self, key: str, value: dict[str, Any]) -> None:
        """Write a small JSON record."""
        self._put(self._below + key, json.dumps(value, sort_keys=True).encode())

    def keep_state(self, key: str, state: bytes) -> None:
        """Write what a long computation would go on from, in the place of what was there: whole or not at all, and without a receipt."""
        name = self._below + key
        self._put(name, sign(self._message(name.encode() + b"\0" + state)) + state)

    def state(self, key: str) -> bytes | None:
        """Read what :meth:`keep_state` wrote last, None where there is nothing that this user's runs wrote."""
        name = self._below + key
        try:
            kept = self._store.get(name)
        except StoreMissing:
            return None
        signature, state = kept[: _SIGNATURE // 2], kept[_SIGNATURE // 2 :]
        return state if is_signed(self._message(name.encode() + b"\0" + state), signature) else None

    def put_plain(self, key: str, data: bytes) -> None:
        """Write an object without a receipt: a probe."""
        self._put(self._below + key, data)

    def drop(self, key: str) -> None:
        """Remove one object."""
        self._store.delete(self._below + key)

    def clear(self, keep: tuple[str, ...] = ()) -> None:
        """Remove everything below the folder but the keys to keep: real rows have no business here once a run is over."""
        for item in list(self._store.list(self._below)):
            if item.key.removeprefix(self._below) not in keep:
                self._store.delete(item.key)
        if not keep and isinstance(self._files, LocalFileSystem):
            # the folder itself, and what killed writers left half-written in it
            shutil.rmtree(f"{self._path}/{self._below}", ignore_errors=True)


class Run(BaseModel):
    """What every task knows of the run it belongs to.

    Attributes
    ----------
    spec : Spec
        The SPEC of the run.
    workspace : str
        URI of the run's workspace.
    id : str
        Kept by a resumed run.
    created : str
        When the run first began, UTC, ISO 8601.
    folder : str
        Of one variant among several in a run's workspace; empty where there is one.
    base : str
        Folder below which relative URIs of the SPEC lie: they are resolved once, where the command runs, and not in a worker's folder.
    """

    model_config = ConfigDict(frozen=True)

    spec: Spec
    workspace: str
    id: str
    created: str
    folder: str = ""
    base: str = ""

    def space(self) -> Workspace:
        """Open the run's workspace."""
        return Workspace(self.workspace, self.folder)

    def absolute(self, uri: str) -> str:
        """Return a URI of the SPEC as any machine that sees the same files understands it."""
        return absolute_uri(uri, self.base)


@contextlib.contextmanager
def _readable(uri: str, key: str) -> Iterator[None]:
    """Say what a task's input lacks in the words of the contract: somebody removed or cut it while the run was under way."""
    try:
        yield
    except (FileNotFoundError, StoreMissing):
        raise StoreMissing(f"object '{key}' of the workspace {uri} must stay while the run is under way; it is gone.", _LOST) from None
    except pa.ArrowInvalid:
        raise StoreError(f"object '{key}' of the workspace {uri} must be as the run wrote it; it is cut or damaged.", _LOST) from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StoreUnavailable(f"object '{key}' of the workspace {uri} must be readable; got '{reason}'.", _LOST) from None


@functools.lru_cache(maxsize=8)
def _load(uri: str, key: str, sha256: str) -> Any:
    with _readable(uri, key):
        data = open_store(uri, private=True).get(key)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise StoreError(
            f"object '{key}' of the workspace {uri} must be as the run wrote it; got other bytes.",
            "Somebody else may have written there. Give the run a workspace of its own: engine.workspace, or WAYMINT_WORKSPACE.",
        )
    return pickle.loads(data)  # noqa: S301 (the very bytes that this run wrote: the reference holds their digest) # nosec B301


def parquet_bytes(table: pa.Table) -> bytes:
    """Encode a table as Parquet; equal tables give equal bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", version="2.6")
    return bytes(sink.getvalue().to_pybytes())
