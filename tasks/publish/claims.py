"""Claims: who owns a version number, and what became of it.

A number is claimed by the one ``owner.json`` that :meth:`Store.put_new` accepts, and is decided by the one
``decision.json``: sealed by its owner with the manifest inside, or abandoned by garbage collection. Whoever comes second
learns it from the store, however late.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import uuid
from datetime import UTC, datetime
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from tasks.contract.errors import StoreError, StoreMissing
from tasks.contract.store import Store
from tasks.publish.layout import checked_run, claims_folder, decision_key, is_owner, is_signature, owner_key, place_of, version_text
from tasks.publish.manifest import MOST_BYTES as MOST_MANIFEST_BYTES

#: Claims and decisions are read from a store that others may write to; a decision holds the text of a manifest, escaped.
MOST_BYTES = 4 * MOST_MANIFEST_BYTES
# process start times are read from clock ticks and the boot time: both round
_START_TOLERANCE = 2.0


class DamagedClaim(StoreError):
    """A claim, or the decision on it, that can't be read: whose the number is, or what became of it, can't be known."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_bytes(self) -> bytes:
        """Return canonical JSON."""
        return f"{json.dumps(self.model_dump(mode='json', exclude_none=True), sort_keys=True, indent=2)}\n".encode()


class Owner(_Record):
    """The writer of a version.

    Attributes
    ----------
    run : str
        Run id; a resumed run has the same one.
    token : str
        Unique per process: tells two writers of one run apart.
    host : str
        Host name, for people.
    place : str
        Where ``pid`` means something: host, boot and process name space.
    pid : int
        The process.
    started : float
        When the process started, UTC seconds: a number used again is another process.
    claimed : float
        When it claimed, UTC seconds.
    """

    run: str
    token: str
    host: str
    place: str
    pid: int
    started: float
    claimed: float

    @classmethod
    def here(cls, run_id: str, token: str, place: str | None = None) -> Owner:
        """Describe this process as an owner."""
        return cls(
            run=checked_run(run_id),
            token=checked_run(token),
            host=socket.gethostname(),
            place=place or this_place(),
            pid=os.getpid(),
            started=psutil.Process().create_time(),
            claimed=datetime.now(UTC).timestamp(),
        )

    def is_dead(self) -> bool:
        """Return whether the process is known to be gone; False also where that can't be known from here."""
        if self.place != this_place():
            return False
        try:
            process = psutil.Process(self.pid)
            return bool(process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - self.started) > _START_TOLERANCE)
        except psutil.NoSuchProcess:
            return True
        except psutil.AccessDenied:
            return False


class SignatureFile(_Record):
    """A signature of a release: its path in the release's folder and its text."""

    path: str
    text: str

    @field_validator("path", mode="after")
    @classmethod
    def _in_its_place(cls, path: str) -> str:
        if not is_signature(path):
            raise ValueError("path of a signature must be that of a key")
        return path


class Decision(_Record):
    """The decision on a claim: exactly one of ``sealed`` (a run id, with the manifest's text) and ``abandoned`` (a reason).

    A signature is decided with the manifest, so that whoever finishes the release can write both.
    """

    sealed: str | None = None
    manifest: str | None = None
    signature: SignatureFile | None = None
    abandoned: str | None = None
    by: str = ""

    @model_validator(mode="after")
    def _one(self) -> Decision:
        if (self.sealed is None) != (self.manifest is None) or (self.sealed is None) == (self.abandoned is None):
            raise ValueError("a decision must be either sealed, with a manifest, or abandoned")
        return self


def this_place() -> str:
    """Return the name of the smallest world in which a process number is unique.

    A host name alone is not enough: containers share them, and a machine that was started again counts from 1.
    """
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    if len(parts) == 1:
        parts.append(f"{uuid.getnode():x}")
    return "/".join(parts)


def claimed_versions(store: Store, name: str) -> dict[int, bool]:
    """Return the claimed versions in their order, and whether each is decided."""
    versions: dict[int, bool] = {}
    for item in store.list(claims_folder(name)):
        place = place_of(item.key)
        if place is not None and place.kind == "claim" and place.version is not None:
            decided = item.key == decision_key(name, place.version)
            versions[place.version] = versions.get(place.version, False) or decided
    return dict(sorted(versions.items()))


def read_owner(store: Store, name: str, version: int) -> Owner | None:
    """Read who claimed a version; None for an unclaimed one."""
    key = owner_key(name, version)
    try:
        return Owner.model_validate_json(store.get(key, MOST_BYTES))
    except StoreMissing:
        return None
    except ValidationError:
        raise DamagedClaim(f"claim of {name} version {version} must be readable; got a damaged '{key}' in {store.uri}.") from None


def read_holders(store: Store, name: str, version: int) -> list[Owner]:
    """Read every process that holds a claim: its owner and those that went on with it."""
    holders = []
    for item in store.list(f"{claims_folder(name)}{version_text(version)}/"):
        place = place_of(item.key)
        if place is not None and is_owner(place):
            # a damaged or vanished one proves no claim
            with contextlib.suppress(StoreMissing, ValidationError):
                holders.append(Owner.model_validate_json(store.get(item.key, MOST_BYTES)))
    return holders


def read_decision(store: Store, name: str, version: int) -> Decision | None:
    """Read what became of a claim; None where nothing is decided yet."""
    key = decision_key(name, version)
    try:
        return Decision.model_validate_json(store.get(key, MOST_BYTES))
    except StoreMissing:
        return None
    except ValidationError:
        raise DamagedClaim(f"decision on {name} version {version} must be readable; got a damaged '{key}' in {store.uri}.") from None
