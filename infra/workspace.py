"""Where a run keeps its intermediate files: real rows, models, drawn parts. Never the store."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import importlib.metadata
import io
import json
import pickle
import platform
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import LocalFileSystem
from pydantic import BaseModel, ConfigDict

from infra.settings import Settings
from infra.store import filesystem, open_store
from tasks.contract.errors import StoreError, StoreMissing, WaymintError
from tasks.contract.refs import ModelRef, PartitionRef, Ref
from tasks.contract.spec import Purpose, Spec
from tasks.contract.store import Store

RefT = TypeVar("RefT", bound=Ref)

# Packages whose version can change a byte of a release.
PACKAGES = (
    "dask", "distributed", "great-expectations", "numba", "numpy", "pandas", "prefect", "pyarrow", "scikit-learn", "scipy",
)  # fmt: skip
# The same, of the extra "networks": there or not.
OPTIONAL_PACKAGES = ("peft", "torch", "transformers")
SLOTS = 64
RUN_RECORD = "run.json"


def package_versions() -> dict[str, str]:
    """Return the versions of the packages a release depends on, and Python's; an optional package that is not installed has none."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    for name in OPTIONAL_PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return dict(sorted(versions.items())) | {"python": platform.python_version()}


def code_digest() -> str:
    """Return a digest of the product's own source files and the versions of its packages."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256(json.dumps(package_versions(), sort_keys=True).encode())
    for package in ("flows", "tasks", "infra"):
        for path in sorted((root / package).rglob("*")):
            if path.suffix in {".py", ".html", ".css", ".j2"}:
                digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def code_record() -> dict[str, str | None]:
    """Return version and commit of the product, as the manifest has them.

    The commit is that of the checkout the code runs from, None for an installed wheel.
    """
    root = Path(__file__).resolve().parent.parent
    commit = None
    if (root / ".git").exists():
        found = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
        commit = found.stdout.strip() or None
    return {"version": importlib.metadata.version("waymint"), "commit": commit, "digest": code_digest()}


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
        self._store: Store = open_store(uri)
        self._files, self._path = filesystem(uri)

    # -- receipts ------------------------------------------------------------------------------------------------
    def finished(self, key: str, kind: type[RefT]) -> RefT | None:
        """Return the reference of an object that an earlier run finished, after checking its bytes."""
        key = self._below + key
        try:
            ref = kind.model_validate_json(self._store.get(f"{key}.receipt"))
            data = self._store.get(key)
        except StoreMissing:
            return None
        return ref if hashlib.sha256(data).hexdigest() == ref.sha256 else None

    def _finish(self, ref: RefT, data: bytes) -> RefT:
        self._put(ref.key, data)
        self._put(f"{ref.key}.receipt", ref.model_dump_json().encode())
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

    def table(self, ref: Ref, columns: list[str] | None = None) -> pa.Table:
        """Read a table, or some of its columns."""
        with self._files.open_input_file(f"{self._path}/{ref.key}") as source:
            return pq.ParquetFile(source).read(columns=columns)

    def first_rows(self, parts: Sequence[PartitionRef], rows: int) -> pa.Table:
        """Read the first rows of a table: a snapshot is in hash order and drawn rows are exchangeable, so they are a random sample."""
        tables, wanted = [], rows
        for part in parts:
            tables.append(self.table(part).slice(0, wanted))
            wanted -= tables[-1].num_rows
            if wanted <= 0:
                break
        return pa.concat_tables(tables, promote_options="default")

    def tagged_row_group(self, ref: Ref, tag: str, value: int) -> pa.Table | None:
        """Read the row group that the file's metadata names for a value: ``{tag: {value: row group}}``; None if it names none."""
        with self._files.open_input_file(f"{self._path}/{ref.key}") as source:
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
        return self._store.get(key)

    def put_model(self, key: str, model: object) -> ModelRef:
        """Pickle a fitted model. Only this machine's own runs ever read it back."""
        buffer = io.BytesIO()
        pickle.dump(model, buffer, protocol=pickle.HIGHEST_PROTOCOL)
        data = buffer.getvalue()
        return self._finish(ModelRef(key=self._below + key, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data)), data)

    def model(self, ref: Ref) -> Any:
        """Read a pickled model of this run; a process keeps the few it used last."""
        return _load(self.uri, ref.key, ref.sha256)

    def record(self, key: str) -> dict[str, Any] | None:
        """Read a small JSON record, None where there is none."""
        try:
            return dict(json.loads(self._store.get(self._below + key)))
        except StoreMissing:
            return None

    def begun(self) -> tuple[dict[str, Any], bool]:
        """Return id and UTC time of the run that the workspace holds, or of a new one, and whether it is a new one."""
        record = self.record(RUN_RECORD)
        if record is not None:
            return record, False
        now = datetime.now(UTC)
        return {"id": f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}", "created": now.isoformat(timespec="seconds")}, True

    def put_record(self, key: str, value: dict[str, Any]) -> None:
        """Write a small JSON record."""
        self._put(self._below + key, json.dumps(value, sort_keys=True).encode())

    def keep_state(self, key: str, state: bytes) -> None:
        """Write what a long computation would go on from, in the place of what was there: whole or not at all, and without a receipt."""
        self._put(self._below + key, state)

    def state(self, key: str) -> bytes | None:
        """Read what :meth:`keep_state` wrote last, None where there is nothing."""
        try:
            return self._store.get(self._below + key)
        except StoreMissing:
            return None

    def clear(self, keep: tuple[str, ...] = ()) -> None:
        """Remove everything below the folder but the keys to keep: real rows have no business here once a run is over."""
        for found in list(self._store.list(self._below)):
            if found.key.removeprefix(self._below) not in keep:
                self._store.delete(found.key)
        if not keep and isinstance(self._files, LocalFileSystem):
            # the folder itself, and what killed writers left half-written in it
            shutil.rmtree(f"{self._path}/{self._below}", ignore_errors=True)


@functools.lru_cache(maxsize=8)
def _load(uri: str, key: str, _sha256: str) -> Any:
    return pickle.loads(open_store(uri).get(key))  # noqa: S301 (written by this run in its own workspace)


def parquet_bytes(table: pa.Table) -> bytes:
    """Encode a table as Parquet; equal tables give equal bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", version="2.6")
    return bytes(sink.getvalue().to_pybytes())


def workspace_root(spec: Spec, settings: Settings) -> str:
    """Return the folder below which runs keep their workspaces."""
    return (spec.engine.workspace or settings.workspace_uri).rstrip("/")


@contextlib.contextmanager
def run_workspace(spec: Spec, settings: Settings, purpose: Purpose = "release") -> Iterator[Workspace]:
    """Hold the workspace of this SPEC: the one a killed run left, else a new one.

    The key is the SPEC's digest for the flow's purpose with the code's, so only a run that would do the very same work finds it. A second
    live run of the same SPEC gets a workspace of its own. The lock is the kernel's: it ends with the process, however that dies.
    """
    key = hashlib.sha256(f"{purpose}{spec.digest(purpose)}{code_digest()}".encode()).hexdigest()[:16]
    root = workspace_root(spec, settings)
    host = "" if root.startswith("file://") or "://" not in root else f"-{platform.node()}"
    with contextlib.ExitStack() as stack:
        for slot in range(SLOTS):
            name = f"{spec.name}-{key}-{slot}{host}"
            if stack.enter_context(_lock(settings, root, name)):
                yield Workspace(f"{root}/{name}")
                return
    raise WaymintError(f"Runs of one SPEC on one machine must be at most {SLOTS} at a time; got one more.", "Wait for one to end.")


@contextlib.contextmanager
def _lock(settings: Settings, root: str, name: str) -> Iterator[bool]:
    """Hold the lock of a workspace, or yield False where a live run of this machine holds it."""
    folder = settings.home.expanduser().resolve() / "locks"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / f"{hashlib.sha256(root.encode()).hexdigest()[:8]}-{name}.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def sweep(root: str, settings: Settings, name: str, older_than_seconds: float, now: float) -> list[str]:
    """Remove workspaces that killed runs of a release name left and nobody came back for: they hold real rows.

    Parameters
    ----------
    root : str
        As :func:`workspace_root` gives it.
    settings : Settings
        Where this machine keeps its locks.
    name : str
        The release name.
    older_than_seconds : float
        Least age of a workspace's youngest file.
    now : float
        UTC seconds.

    Returns
    -------
    list of str
        URIs of the removed workspaces.
    """
    store = open_store(root)
    youngest: dict[str, float] = {}
    for found in store.list(f"{name}-"):
        folder = found.key.partition("/")[0]
        youngest[folder] = max(youngest.get(folder, 0.0), found.modified)
    removed = []
    for folder, modified in youngest.items():
        if not re.fullmatch(rf"{re.escape(name)}-[0-9a-f]{{16}}-\d+(-.*)?", folder) or now - modified < older_than_seconds:
            continue
        with _lock(settings, root, folder) as ours:
            if ours:
                Workspace(f"{root}/{folder}").clear()
                removed.append(f"{root}/{folder}")
    return removed


class Run(BaseModel):
    """What every task is told of the run it belongs to.

    Attributes
    ----------
    spec : Spec
        What is asked for.
    workspace : str
        URI of the run's workspace.
    id : str
        Kept by a resumed run.
    created : str
        When the run first began, UTC, ISO 8601.
    folder : str
        Of one variant among several in a run's workspace; empty where there is one.
    """

    model_config = ConfigDict(frozen=True)

    spec: Spec
    workspace: str
    id: str
    created: str
    folder: str = ""

    def space(self) -> Workspace:
        """Open the run's workspace."""
        return Workspace(self.workspace, self.folder)
