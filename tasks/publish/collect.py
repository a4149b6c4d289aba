"""Garbage collection: what dead writers left is finished or cleared, published files are never touched."""

from __future__ import annotations

import uuid
from typing import Literal, NamedTuple

from tasks.contract.errors import StoreConflict, StoreError, StoreForbidden, StoreUnavailable
from tasks.contract.store import Store, StoredObject
from tasks.publish.claims import Decision, Owner, read_decision, read_holders
from tasks.publish.commit import finish
from tasks.publish.layout import MANIFEST, decision_key, is_signature, manifest_key, name_folder, owner_key, place_of, version_folder
from tasks.publish.manifest import MOST_BYTES, Manifest, read_manifest


class Action(NamedTuple):
    """One thing that was done, or left alone for a reason: what, to which key, why."""

    action: Literal["published", "abandoned", "deleted", "kept"]
    key: str
    reason: str


def gc(store: Store, name: str | None, older_than_seconds: float, now: float) -> list[Action]:
    """Finish, give up and clean.

    * A sealed claim without a manifest is published: its writer died one step before.
    * An open claim is abandoned if its process is known to be dead on this machine, or if neither the claim nor any of its
      files is younger than the given age; its files are deleted. A writer that was only slow learns it when it
      seals, and publishes under another number.
    * Files of an abandoned claim, files that no claim explains, and files of a release that its manifest does not list
      are deleted.

    Parameters
    ----------
    store : Store
        Where releases land.
    name : str or None
        A release name; None is all.
    older_than_seconds : float
        Least age of a claim, or of unexplained files, that is given up without proof of death.
    now : float
        UTC seconds.

    Returns
    -------
    list of Action
        In order.
    """
    prefix = "" if name is None else name_folder(name)
    versions: dict[tuple[str, int], list[StoredObject]] = {}
    for item in store.list(prefix):
        place = place_of(item.key)
        if place is not None and place.version is not None:
            files = versions.setdefault((place.name, place.version), [])
            if place.kind == "release":
                files.append(item)
    actions: list[Action] = []
    for (owner, version), files in sorted(versions.items()):
        try:
            actions += _collect(store, owner, version, files, now - older_than_seconds)
        except StoreConflict as error:
            actions.append(Action("kept", version_folder(owner, version), f"somebody else is at it: {error.message}"))
        except (StoreUnavailable, StoreForbidden):
            raise
        except StoreError as error:  # a link, or a damaged claim or manifest: one of them keeps no other from being cleaned
            actions.append(Action("kept", version_folder(owner, version), error.message))
    return actions


def _collect(store: Store, name: str, version: int, files: list[StoredObject], before: float) -> list[Action]:
    decision = read_decision(store, name, version)
    if any(item.key == manifest_key(name, version) for item in files):
        return _tidy(store, name, version)
    if decision is None:
        given_up = _give_up(store, name, version, files, before)
        if given_up.action == "kept":
            return [given_up]
        return [given_up, *_clear(store, name, version)]
    if decision.manifest is None:
        return _clear(store, name, version)
    return _roll_forward(store, name, version, decision.manifest)


def _roll_forward(store: Store, name: str, version: int, text: str) -> list[Action]:
    """Publish what its writer sealed, if all of it is there."""
    folder = version_folder(name, version)
    manifest = read_manifest(text.encode(), f"{name} version {version}")
    there = {item.key.removeprefix(folder): item.bytes for item in store.list(folder)}
    lacking = [file.path for file in manifest.files if there.get(file.path) != file.bytes]
    if lacking:
        return [Action("kept", folder, f"sealed, but {len(lacking)} of its files are not there")]
    finish(store, name, version)
    done = Action("published", manifest_key(name, version), "sealed by its writer, which did not live to publish it")
    return [done, *_tidy(store, name, version)]


def _give_up(store: Store, name: str, version: int, files: list[StoredObject], before: float) -> Action:
    """Abandon an open claim if its owner is dead or too old; an unclaimed folder is claimed first."""
    holders = read_holders(store, name, version)
    youngest = max([item.modified for item in files] + [holder.claimed for holder in holders], default=0.0)
    folder = version_folder(name, version)
    if holders and all(holder.is_dead() for holder in holders):
        reason = "its processes are gone: " + ", ".join(f"{holder.pid} on {holder.host}" for holder in holders)
    elif youngest <= before:
        reason = "it is older than the given age" if holders else "nobody claimed it"
    else:
        return Action("kept", folder, "it is younger than the given age and its process may be alive")
    token = uuid.uuid4().hex
    if not holders:
        # else a writer could claim the number between this look and the deletion
        store.put_new(owner_key(name, version), Owner.here("gc", token).to_bytes())
    store.put_new(decision_key(name, version), Decision(abandoned=reason, by=token).to_bytes())
    return Action("abandoned", folder, reason)


def _clear(store: Store, name: str, version: int) -> list[Action]:
    """Delete all files of an abandoned claim."""
    return _delete(store, [item.key for item in store.list(version_folder(name, version))], "its claim is abandoned")


def _tidy(store: Store, name: str, version: int) -> list[Action]:
    """Delete the files of a release's folder that its manifest does not list."""
    folder = version_folder(name, version)
    try:
        manifest: Manifest = read_manifest(store.get(manifest_key(name, version), MOST_BYTES), f"{name} version {version}")
    except StoreError as error:
        return [Action("kept", folder, f"its manifest can't be read: {error.message}")]
    if (manifest.name, manifest.version) != (name, version):
        return [Action("kept", folder, "its manifest is another release's")]
    listed = {folder + file.path for file in manifest.files} | {folder + MANIFEST}
    strays = [item.key for item in store.list(folder) if item.key not in listed and not is_signature(item.key.removeprefix(folder))]
    return _delete(store, strays, "its release does not list it")


def _delete(store: Store, keys: list[str], reason: str) -> list[Action]:
    for key in keys:
        store.delete(key)
    return [Action("deleted", key, reason) for key in keys]
