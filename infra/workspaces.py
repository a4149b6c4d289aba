"""The workspaces of a machine: the one a run holds, and those that killed runs left."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import platform
import re
from collections.abc import Iterator

from infra.ownership import home_folder, is_private, private_folder
from infra.provenance import code_digest
from infra.settings import Settings
from infra.store import open_store
from infra.workspace import Workspace
from tasks.contract.errors import WaymintError
from tasks.contract.spec import Purpose, Spec

SLOTS = 64


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
                space = Workspace(f"{root}/{folder}")
                if space.folder is not None and not is_private(space.folder):
                    continue  # somebody else's
                space.clear()
                removed.append(f"{root}/{folder}")
    return removed
