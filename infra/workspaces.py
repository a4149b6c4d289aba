"""The workspaces of a machine: the one a run holds, and those that killed runs left."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import platform
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from infra.ownership import home_folder, is_private, private_folder
from infra.provenance import code_digest
from infra.settings import Settings
from infra.store import absolute_uri, open_store
from infra.workspace import Workspace
from tasks.contract.errors import StoreError, WaymintError
from tasks.contract.spec import Purpose, Spec

SLOTS = 64


def workspace_root(spec: Spec, settings: Settings) -> str:
    """Return the folder below which runs keep their workspaces."""
    return absolute_uri((spec.engine.workspace or settings.workspace_uri).rstrip("/") or "/")


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
                space = Workspace(f"{root}/{name}")
                if space.folder is not None:
                    private_folder(space.folder)
                yield space
                return
    raise WaymintError(f"Runs of one SPEC on one machine must be at most {SLOTS} at a time; got one more.", "Wait for one to end.")


@contextlib.contextmanager
def _lock(settings: Settings, root: str, name: str) -> Iterator[bool]:
    """Hold the lock of a workspace, or yield False where a live run of this machine holds it."""
    folder = private_folder(home_folder(settings) / "locks")
    with (folder / f"{hashlib.sha256(root.encode()).hexdigest()[:8]}-{name}.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            # who looks for workspaces later finds them by their locks, wherever they are
            lock.seek(0)
            lock.truncate()
            json.dump({"root": root, "name": name}, lock)
            lock.flush()
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
    for item in store.list(f"{name}-"):
        folder = item.key.partition("/")[0]
        youngest[folder] = max(youngest.get(folder, 0.0), item.modified)
    removed = []
    for folder, modified in youngest.items():
        if not re.fullmatch(rf"{re.escape(name)}-[0-9a-f]{{16}}-\d+(-.*)?", folder) or now - modified < older_than_seconds:
            continue
        with _lock(settings, root, folder) as ours:
            if ours:
                space = Workspace(f"{root}/{folder}")
                if space.folder is not None and not is_private(space.folder):
                    continue  # somebody else's
                space.clear()
                removed.append(f"{root}/{folder}")
    return removed


class Leftover(NamedTuple):
    """A workspace that holds objects.

    Attributes
    ----------
    uri : str
        Where it is.
    objects, bytes : int
        What it holds.
    modified : float
        UTC seconds of its youngest object.
    state : str
        ``"in use"`` by a live run of this machine, ``"left"`` by one that ended, or ``"unreachable"``.
    """

    uri: str
    objects: int
    bytes: int
    modified: float
    state: Literal["in use", "left", "unreachable"]


def leftovers(settings: Settings) -> list[Leftover]:
    """Find every workspace that runs of this user on this machine ever held and that still holds something.

    Parameters
    ----------
    settings : Settings
        Where this machine keeps its locks.
    """
    left = [_leftover(settings, root, name) for root, name in _held(settings)]
    return sorted(each for each in left if each is not None)


def clear_leftovers(settings: Settings, older_than_seconds: float, now: float) -> tuple[list[Leftover], list[Leftover]]:
    """Remove workspaces that no live run holds; return those that were removed and those that were not.

    Parameters
    ----------
    settings : Settings
        Where this machine keeps its locks.
    older_than_seconds : float
        Least age of a workspace's youngest object.
    now : float
        UTC seconds.
    """
    removed: list[Leftover] = []
    kept: list[Leftover] = []
    for root, name in _held(settings):
        each = _leftover(settings, root, name)
        if each is None:
            continue
        if each.state != "left" or now - each.modified < older_than_seconds:
            kept.append(each)
            continue
        with _lock(settings, root, name) as ours:
            if ours:
                Workspace(f"{root}/{name}").clear()
            (removed if ours else kept).append(each)
    return sorted(removed), sorted(kept)


def _held(settings: Settings) -> list[tuple[str, str]]:
    """Read the locks: root and name of each workspace."""
    held = []
    for path in sorted((home_folder(settings) / "locks").glob("*.lock")):
        with contextlib.suppress(ValueError, KeyError, OSError):  # a lock of an earlier version holds nothing
            record = json.loads(path.read_text())
            held.append((str(record["root"]), str(record["name"])))
    return held


def _leftover(settings: Settings, root: str, name: str) -> Leftover | None:
    """Look into a workspace; None where it holds nothing."""
    uri = f"{root}/{name}"
    space = Workspace(uri)
    if space.folder is not None and not is_private(space.folder):
        return None  # gone, or somebody else's
    try:
        objects = list(open_store(uri, private=True).list(""))
    except StoreError:
        return Leftover(uri, 0, 0, 0.0, "unreachable")
    if not objects:
        return None
    with _lock(settings, root, name) as ours:
        state: Literal["in use", "left"] = "left" if ours else "in use"
    return Leftover(uri, len(objects), sum(each.bytes for each in objects), max(each.modified for each in objects), state)
