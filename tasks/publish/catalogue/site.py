"""Writing a catalogue into a folder: whole, in the place of an older one."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tasks.contract.errors import StoreError, StoreForbidden
from tasks.contract.store import Store
from tasks.publish.catalogue.pages import CARRIED, FORMAT, RECORD, pages, showable
from tasks.publish.catalogue.shelf import Shelf, shelves
from tasks.publish.layout import REPORT, rejected_folder, version_text
from tasks.publish.manifest import MOST_BYTES
from tasks.publish.releases import sound_bytes


class Site(NamedTuple):
    """What was written: names, versions, rejected runs, and pages of releases that were not taken because they are damaged."""

    names: int
    versions: int
    rejected: int
    damaged: tuple[str, ...]


def write_site(store: Store, folder: Path) -> Site:
    """Write the catalogue of a store.

    Reports and codebooks are copied beside the catalogue's pages, each checked against its manifest; a damaged one is left out and said.

    Parameters
    ----------
    store : Store
        A folder or a bucket.
    folder : Path
        Absent, empty, or an earlier catalogue, which is replaced.

    Returns
    -------
    Site

    Raises
    ------
    StoreError
        If the folder holds something else or can't be written, or the store can't be read.
    """
    _check_folder(folder)
    shelved = [showable(shelf) for shelf in shelves(store)]
    damaged: list[str] = []
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            target = temporary / "site"
            for path, data in (*pages(store.uri, shelved).items(), *_carried(store, shelved, damaged)):
                (target / path).parent.mkdir(parents=True, exist_ok=True)
                (target / path).write_bytes(data)
            if folder.exists():
                folder.replace(temporary / "before")
            target.replace(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except PermissionError as error:
        raise StoreForbidden(f"folder of site must be writable; got '{error.strerror}' at {folder}.") from None
    except OSError as error:
        raise StoreError(f"folder of site must take the catalogue; got '{error.strerror}' at {folder}.") from None
    return Site(len(shelved), sum(len(each.versions) for each in shelved), sum(len(each.rejected) for each in shelved), tuple(damaged))


def _check_folder(folder: Path) -> None:
    """Refuse to replace what is no catalogue."""
    if not folder.exists():
        return
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if not any(folder.iterdir()) or json.loads((folder / RECORD).read_text("utf-8")).get("format") == FORMAT:
            return
    raise StoreError(f"folder of site must be new, empty or an earlier catalogue; got {folder}.", "Give another one with --to.")


def _carried(store: Store, shelved: Sequence[Shelf], damaged: list[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the pages that are copied, with their paths in the catalogue."""
    for shelf in shelved:
        for manifest in shelf.versions:
            for file in manifest.files:
                path = f"{shelf.name}/{version_text(manifest.version)}/{file.path}"
                if file.path in CARRIED:
                    try:
                        yield path, sound_bytes(store, shelf.name, manifest.version, file)
                    except StoreError:
                        damaged.append(path)
        for run in shelf.rejected:
            if run.report:
                path = f"{shelf.name}/rejected/{run.run}/{REPORT}"
                try:
                    yield path, store.get(rejected_folder(shelf.name, run.run) + REPORT, MOST_BYTES)
                except StoreError:
                    damaged.append(path)
