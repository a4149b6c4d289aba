"""What a catalogue shows of a store."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from tasks.contract.errors import StoreError
from tasks.contract.store import Store
from tasks.publish.layout import REPORT, is_run, place_of, rejected_folder
from tasks.publish.manifest import MOST_BYTES, Manifest
from tasks.publish.releases import scan_releases, show

_RUN_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z-.*")
_RESULTS = re.compile(r"checks/(?:[\w-]+/)?results\.json")


class Rejected(NamedTuple):
    """A run that failed a gate.

    Attributes
    ----------
    run : str
        Its id.
    created : str
        UTC, ISO 8601; empty where nothing says it.
    gates : tuple of str
        Names of the failed gates; empty where its checks can't be read.
    report : bool
        Whether it has a report.
    """

    run: str
    created: str
    gates: tuple[str, ...]
    report: bool


class Shelf(NamedTuple):
    """All of one release name.

    Attributes
    ----------
    name : str
    versions : tuple of Manifest
        Oldest first.
    unreadable : tuple of (int, str)
        Versions whose manifest can't be read, with the reason.
    rejected : tuple of Rejected
        Oldest first.
    """

    name: str
    versions: tuple[Manifest, ...]
    unreadable: tuple[tuple[int, str], ...]
    rejected: tuple[Rejected, ...]


def shelves(store: Store) -> tuple[Shelf, ...]:
    """Read what a store holds, by name; names without release and without rejected run are left out.

    Parameters
    ----------
    store : Store
        A folder or a bucket.
    """
    listing = scan_releases(store)
    rejected = _rejected(store)
    names = {info.name for info in listing.releases} | {name for name, _, _ in listing.unreadable} | set(rejected)
    return tuple(
        Shelf(
            name,
            tuple(show(store, name, info.version) for info in listing.releases if info.name == name),
            tuple((version, reason) for other, version, reason in listing.unreadable if other == name),
            tuple(sorted(rejected.get(name, ()), key=lambda run: (run.created, run.run))),
        )
        for name in sorted(names)
    )


def _rejected(store: Store) -> dict[str, list[Rejected]]:
    """Read the rejected runs of every name."""
    paths: dict[tuple[str, str], set[str]] = {}
    for item in store.list(""):
        place = place_of(item.key)
        first, _, rest = ("", "", "") if place is None or place.kind != "other" else place.path.partition("/")
        run, _, path = rest.partition("/")
        if place is not None and first == "rejected" and path and is_run(run):
            paths.setdefault((place.name, run), set()).add(path)
    runs: dict[str, list[Rejected]] = {}
    for (name, run), files in paths.items():
        records = [_results(store, rejected_folder(name, run) + path) for path in sorted(files) if _RESULTS.fullmatch(path)]
        gates = dict.fromkeys(gate for record in records for gate in _failed(record))
        created = next((str(record["created"]) for record in records if record.get("created")), _time_of(run))
        runs.setdefault(name, []).append(Rejected(run, created, tuple(gates), REPORT in files))
    return runs


def _results(store: Store, key: str) -> Mapping[str, Any]:
    """Read what Great Expectations said; nothing where that is damaged."""
    try:
        record = json.loads(store.get(key, MOST_BYTES))
    except (StoreError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _failed(record: Mapping[str, Any]) -> list[str]:
    """Return the gates whose expectation failed."""
    try:
        failed = [each for each in record.get("results", ()) if each["success"] is False]
        return [str(each["expectation_config"]["kwargs"]["metric"]) for each in failed]
    except (KeyError, TypeError):
        return []


def _time_of(run: str) -> str:
    """Return the time that a run's id begins with; empty where it begins with none."""
    match = _RUN_TIME.fullmatch(run)
    return "{}-{}-{}T{}:{}:{}+00:00".format(*match.groups()) if match else ""
