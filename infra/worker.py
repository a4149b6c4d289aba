"""What runs on a Dask worker besides tasks: leaving a Ctrl-C to the run, and a look around before any work."""

from __future__ import annotations

import re
import signal
import uuid
from typing import NamedTuple

import pyarrow as pa
import pyarrow.fs

from infra.provenance import code_digest, package_versions
from infra.store import filesystem, open_store
from tasks.contract.errors import WaymintError


def dask_setup(_worker: object) -> None:
    """Ignore SIGINT: a terminal sends it to the whole process group, and a dying worker would print tracebacks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class View(NamedTuple):
    """What a worker has and what it lacks.

    Attributes
    ----------
    packages : dict
        Versions of the packages that can change a byte of a release.
    digest : str
        Of the product's code.
    lacks : list of str
        One line for each thing that the run needs and the worker has not, with the key to set.
    store : str or None
        Why the store can't be read from there; None where it can be.
    """

    packages: dict[str, str]
    digest: str
    lacks: list[str]
    store: str | None


def look(workspace: str, token: str, source: str | None, store: str) -> View:
    """Look from a worker at what tasks will need.

    Parameters
    ----------
    workspace : str
        URI of the run's workspace, where the flow has put an object ``token``.
    token : str
        Its key, and what it holds.
    source : str or None
        URI of the source; None where it comes with the package.
    store : str
        URI of the store. It is only asked for an object that is not there: a release is written by the flow's own process, which tries
        that before any work.
    """
    lacks = []
    try:
        space = open_store(workspace, private=True)
        if space.get(token) != token.encode():
            lacks.append(f"the workspace {workspace} is another one there (engine.workspace, WAYMINT_WORKSPACE)")
        probe_key = f"{token}-{uuid.uuid4().hex}"
        space.put(probe_key, b"")
        space.delete(probe_key)
    except WaymintError as error:
        lacks.append(f"the workspace {workspace} can't be used there (engine.workspace, WAYMINT_WORKSPACE): {error.message}")
    if source is not None and not _is_there(source):
        lacks.append(f"the source {source} is not there (source.uri)")
    return View(package_versions(), code_digest(), lacks, _store_fault(store, token))


def _store_fault(uri: str, token: str) -> str | None:
    """Return why a store can't be read here; None where it can be."""
    try:
        open_store(uri).exists(token)
    except WaymintError as error:
        return error.message
    return None


def _is_there(uri: str) -> bool:
    """Return whether a file, a folder, or the folder of a glob is there."""
    try:
        files, path = filesystem(uri)
        plain = re.split(r"[*?\[]", path)[0]
        place = path if plain == path else plain.rpartition("/")[0]
        return bool(files.get_file_info(place).type != pyarrow.fs.FileType.NotFound)
    except (OSError, pa.ArrowException, WaymintError):
        return False
