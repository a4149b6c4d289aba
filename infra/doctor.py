"""What this machine offers a run: Python, packages, memory, disk, folders, store, Prefect, Dask. Nothing is started or mended."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import socket
import stat
import sys
import tempfile
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import psutil

from infra.prefect_server import embedded_server
from infra.settings import Settings, prefect_api_url
from infra.store import open_store
from tasks.contract.errors import InfrastructureError, WaymintError

OLDEST_PYTHON = (3, 11)
GIB = 1 << 30
#: Below the first a run may fail; below the second large tables may.
MEMORY, DISK = (1 * GIB, 4 * GIB), (1 * GIB, 10 * GIB)
_CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_MACHINE_CODE = InfrastructureError.exit_code


class Diagnosis(NamedTuple):
    """One thing that was looked at.

    Attributes
    ----------
    name : str
    status : str
        ``"ok"``, ``"warning"`` or ``"error"``.
    message : str
    hint : str
        How to mend it; empty where all is well.
    code : int
        Exit code of an error; else 0.
    """

    name: str
    status: Literal["ok", "warning", "error"]
    message: str
    hint: str = ""
    code: int = 0


def diagnose(settings: Settings, store: str | None = None) -> list[Diagnosis]:
    """Look at everything that a run needs.

    Parameters
    ----------
    settings : Settings
    store : str, optional
        A store that is tried by writing and removing a small object.
    """
    home = settings.home.expanduser().resolve()
    checks = [_python(), _packages(), _memory(), *(_disk(name, path) for name, path in _places(settings, home)), *_folders(home)]
    checks += [_loopback(), _prefect(settings), _dask()]
    return [*checks, _store(store)] if store is not None else checks


def _python() -> Diagnosis:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] < OLDEST_PYTHON:
        hint = "Install a newer Python, then 'make setup'."
        return Diagnosis("python", "error", f"Python must be at least 3.11; got {version}.", hint, _MACHINE_CODE)
    return Diagnosis("python", "ok", f"Python {version}, {os.cpu_count()} CPUs")


def _packages() -> Diagnosis:
    """Return which packages that waymint needs are not installed; those of extras are nobody's fault."""
    try:
        needed = [line for line in importlib.metadata.requires("waymint") or [] if "extra ==" not in line]
    except importlib.metadata.PackageNotFoundError:
        return Diagnosis("packages", "warning", "waymint is not installed: it runs from its folder.", "Run 'make setup'.")
    names = [match[0] for line in needed if (match := re.match(r"[\w.-]+", line)) is not None]
    missing = [name for name in names if not any(True for _ in importlib.metadata.distributions(name=name))]
    if missing:
        text = f"packages of waymint must be installed; got none of {', '.join(missing)}."
        return Diagnosis("packages", "error", text, "Run 'make setup'.", _MACHINE_CODE)
    return Diagnosis("packages", "ok", f"waymint {importlib.metadata.version('waymint')} with all of its {len(names)} packages")


def memory_limit() -> int:
    """Return the bytes of memory that this process may use: the machine's, or those of its container."""
    limits = [int(psutil.virtual_memory().total)]
    for path in _CGROUPS:
        try:
            limits.append(int(path.read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return min(limits)


def _memory() -> Diagnosis:
    total = memory_limit()
    free = min(int(psutil.virtual_memory().available), total)
    hint = "End other programs, lower engine.workers, or set source.partition_rows lower."
    return _amount("memory", free, MEMORY, f"{free / GIB:.1f} GiB free of {total / GIB:.1f}", hint)


def _places(settings: Settings, home: Path) -> list[tuple[str, Path]]:
    """Return the folders that fill while a run works."""
    places = [("home", home), ("temporary files", Path(tempfile.gettempdir()))]
    workspace = settings.workspace_uri
    if workspace.startswith("file://") and not workspace.startswith(f"file://{home}/"):
        places.append(("workspace", Path(workspace.removeprefix("file://"))))
    return places


def _disk(name: str, path: Path) -> Diagnosis:
    there = _nearest(path)
    free = shutil.disk_usage(there).free
    hint = f"Free some space, or move it: {'TMPDIR' if name == 'temporary files' else 'WAYMINT_HOME or WAYMINT_WORKSPACE'}."
    return _amount(f"disk of {name}", free, DISK, f"{free / GIB:.1f} GiB free for '{path}'", hint)


def _amount(name: str, free: int, limits: tuple[int, int], message: str, hint: str) -> Diagnosis:
    if free < limits[0]:
        return Diagnosis(name, "error", f"{message}; at least {limits[0] // GIB} GiB are needed", hint, _MACHINE_CODE)
    if free < limits[1]:
        return Diagnosis(name, "warning", f"{message}; large tables may need more", hint)
    return Diagnosis(name, "ok", message)


def _folders(home: Path) -> Iterator[Diagnosis]:
    """Look at the home and what lies in it: nobody else may enter or write."""
    if not home.exists():
        parent = _nearest(home)
        if not os.access(parent, os.W_OK | os.X_OK):
            text = f"folder '{parent}' must be writable to hold '{home.name}'; it is not."
            yield Diagnosis("home", "error", text, "Set WAYMINT_HOME to a folder of your own.", _MACHINE_CODE)
        else:
            yield Diagnosis("home", "ok", f"'{home}' is made by the first run")
        return
    status = home.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        text = f"home '{home}' must be a folder of the user who runs waymint; it is not."
        yield Diagnosis("home", "error", text, "Remove it, or set WAYMINT_HOME to a folder of your own.", _MACHINE_CODE)
        return
    loose = [path for path in (home, *sorted(home.iterdir())) if _open_to_others(path) and (path == home or path.name == "key")]
    for path in loose:
        mode = "600" if path.is_file() else "700"
        text = f"mode of '{path}' must be 0{mode}; got {stat.S_IMODE(path.lstat().st_mode):04o}, which lets others in."
        if path.name == "key" and path != home:
            yield Diagnosis("home", "error", text, f"Run 'chmod {mode} {path}', or remove it: killed runs then start over.", _MACHINE_CODE)
        else:
            yield Diagnosis("home", "warning", text, f"Run 'chmod {mode} {path}'; the next run does it too.")
    if not loose:
        yield Diagnosis("home", "ok", f"'{home}' is its owner's alone")


def _open_to_others(path: Path) -> bool:
    return bool(stat.S_IMODE(path.lstat().st_mode) & 0o077)


def _nearest(path: Path) -> Path:
    """Return a path, or the nearest folder above it that is there."""
    return next(one for one in (path, *path.absolute().parents) if one.exists())


def _loopback() -> Diagnosis:
    """Listen on loopback for a moment: the embedded Prefect server and Dask's workers do."""
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            probe.listen(1)
            with socket.create_connection(probe.getsockname(), timeout=5):
                pass
    except OSError as error:
        text = f"ports on 127.0.0.1 must be free to use; got '{error.strerror or error}'."
        hint = 'A firewall or sandbox may forbid it. Name a server with PREFECT_API_URL and set engine.dask to "threads".'
        return Diagnosis("loopback", "error", text, hint, _MACHINE_CODE)
    return Diagnosis("loopback", "ok", "ports on 127.0.0.1 can be used")


def _prefect(settings: Settings) -> Diagnosis:
    version = _version("prefect")
    url = prefect_api_url()
    if url is None:
        server = embedded_server(settings)
        state = f"a server runs at {server.url}" if server is not None else "its server is started by the first run"
        return Diagnosis("prefect", "ok", f"Prefect {version}; {state}")
    hint = "Start that server, mend PREFECT_API_URL, or unset it: waymint then starts a server of its own."
    if not url.startswith(("http://", "https://")):
        text = f"PREFECT_API_URL must begin with http:// or https://; got '{url}'."
        return Diagnosis("prefect", "error", text, hint, _MACHINE_CODE)
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=5):  # noqa: S310 - the scheme is checked above # nosec B310
            pass
    except urllib.error.HTTPError as error:
        if error.code not in (401, 403):  # it is there and asks for the secret that runs have
            return Diagnosis("prefect", "error", f"Prefect at {url} must answer; got status {error.code}.", hint, _MACHINE_CODE)
    except (OSError, ValueError) as error:
        return Diagnosis("prefect", "error", f"Prefect at {url} must answer; got '{error}'.", hint, _MACHINE_CODE)
    return Diagnosis("prefect", "ok", f"Prefect {version}; the server at {url} answers")


def _dask() -> Diagnosis:
    dask, distributed = _version("dask"), _version("distributed")
    if dask != distributed:
        text = f"versions of dask and distributed must be equal; got {dask} and {distributed}."
        return Diagnosis("dask", "warning", text, "Run 'make setup'.")
    return Diagnosis("dask", "ok", f"Dask {dask}")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _store(uri: str) -> Diagnosis:
    """Write and remove a small object."""
    try:
        store = open_store(uri)
        key = f"access-{uuid.uuid4().hex}"
        store.put(key, b"{}")
        store.delete(key)
    except WaymintError as fault:
        return Diagnosis("store", "error", fault.message, fault.hint, fault.exit_code)
    return Diagnosis("store", "ok", f"'{uri}' takes releases")
