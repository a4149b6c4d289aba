"""Claiming a version number for a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.contract.errors import StoreConflict, StoreError
from tasks.contract.store import Store
from tasks.publish.claims import DamagedClaim, Owner, claimed_versions, read_decision, read_owner
from tasks.publish.identity import bind_identity
from tasks.publish.layout import heir_key, name_folder, owner_key, place_of


def claim(
    store: Store, name: str, run_id: str, token: str, identity: Mapping[str, Any], resumed: int | None = None, place: str | None = None
) -> int:
    """Claim a version number for a run; the same run gets its own number back.

    Parameters
    ----------
    store : Store
        Where the release lands.
    name : str
        The release name.
    run_id : str
        Id of the run: the same when it is resumed.
    token : str
        Unique per process.
    identity : mapping
        The table that the name identifies; see :func:`tasks.publish.identity.identity_of`.
    resumed : int, optional
        The number this run got earlier, if the caller remembers: saves a search.
    place : str, optional
        Where the process lives, if not here.

    Returns
    -------
    int
        The version, from 1.

    Raises
    ------
    SpecError
        If the name identifies another table.
    StoreError
        If the store lets a second writer overwrite the first: no release is safe there.
    """
    bind_identity(store, name, identity)
    owner = Owner.here(run_id, token, place)
    claimed = claimed_versions(store, name)
    for version in ([resumed] if resumed else []) + sorted(claimed, reverse=True):
        if _is_open(store, name, version, run_id):
            return _inherit(store, name, version, owner)
    version = max([*claimed, *_used_versions(store, name)], default=0)
    while True:
        version += 1
        try:
            store.put_new(owner_key(name, version), owner.to_bytes())
        except StoreConflict:
            # a twin of this run (resumed twice at once) shares its number; every other run has its own
            if _is_open(store, name, version, run_id):
                return _inherit(store, name, version, owner)
            continue
        _prove_exclusive(store, name, version, owner)
        return version


def _is_open(store: Store, name: str, version: int, run_id: str) -> bool:
    """Return whether a version is this run's and not given up."""
    try:
        owner = read_owner(store, name, version)
    except DamagedClaim:  # nobody's who could prove it: it must not keep others from publishing
        return False
    if owner is None or owner.run != run_id:
        return False
    decision = read_decision(store, name, version)
    return decision is None or decision.abandoned is None


def _inherit(store: Store, name: str, version: int, heir: Owner) -> int:
    """Record that another process of the run continues its claim, so that the death of the first one does not abandon it."""
    store.put(heir_key(name, version, heir.token), heir.to_bytes())
    return version


def _used_versions(store: Store, name: str) -> set[int]:
    """Return the versions that have files: also those copied here without their claims."""
    places = (place_of(item.key) for item in store.list(f"{name_folder(name)}v"))
    return {place.version for place in places if place is not None and place.version is not None}


def _prove_exclusive(store: Store, name: str, version: int, owner: Owner) -> None:
    """Try to take the own claim away: some servers ignore the condition of a write and say nothing."""
    key = owner_key(name, version)
    try:
        store.put_new(key, b"{}")
    except StoreConflict:
        return
    store.put(key, owner.to_bytes())
    raise StoreError(
        f"server of store {store.uri} must honour conditional writes (If-None-Match); it overwrote one.",
        "Two writers could destroy each other's releases there; use another server or a file:// store.",
    )
