"""One release of a name at a time: a lock for the runs of this machine, a concurrency limit of Prefect for those of all machines.

The lock is the kernel's and ends with its process. Prefect's slot is leased; the lease of a killed run is kept beside the lock, so
that the next run on this machine returns it at once. Elsewhere it expires within a minute.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import ConcurrencyLeaseHolder
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectHTTPStatusError
from prefect.runtime import flow_run

from infra.faults import infrastructure, lost_server
from infra.ownership import home_folder, private_folder
from infra.settings import Settings
from infra.stages import Stages
from infra.store import absolute_uri
from tasks.contract.errors import InfrastructureError
from tasks.contract.spec import Spec

#: Seconds of a lease (the least that Prefect allows), from one renewal to the next, and from one try to the next.
LEASE_SECONDS, RENEWAL_SECONDS, TRY_SECONDS = 60.0, 20.0, 0.5


def limit_name(spec: Spec) -> str:
    """Return the name of the concurrency limit of a release name in its store."""
    return f"waymint-{spec.name}-{hashlib.sha256(absolute_uri(spec.store.uri).encode()).hexdigest()[:8]}"


@contextlib.contextmanager
def turn(spec: Spec, settings: Settings, stages: Stages) -> Iterator[None]:
    """Hold the turn of a release name in its store for the length of the block; wait while another run holds it.

    Two writers never spoil a release; turns keep runs from doing the same work twice. So a run that waited for
    ``engine.timeout`` goes on without one.

    Parameters
    ----------
    spec : Spec
        Its name and store.
    settings : Settings
        Where this machine keeps its locks.
    stages : Stages
        Told of a wait.

    Raises
    ------
    InfrastructureError
        If the Prefect server does not answer.
    """
    name = limit_name(spec)
    wait = _Wait(f"waiting: another run of {spec.name} is under way (concurrency limit {name})", spec.engine.timeout, stages)
    folder = private_folder(home_folder(settings) / "locks")
    with (folder / f"turn-{name}.lock").open("a+") as lock, contextlib.ExitStack() as held:
        if wait.until(lambda: _locks(lock)):
            with infrastructure():
                client = held.enter_context(get_client(sync_client=True))
                _return_left(client, name, lock)
                _create(client, name)
                slot = _Slot(client, name)
                if wait.until(slot.take):
                    held.enter_context(slot.kept(lock))
        yield


class _Wait:
    """Tries until something is had, and says once that it waits."""

    def __init__(self, text: str, seconds: float, stages: Stages) -> None:
        self._text, self._end, self._stages = text, time.monotonic() + seconds, stages
        self._said = False

    def until(self, take: Callable[[], bool]) -> bool:
        """Return whether it was had in time."""
        while not take():
            if not self._said:
                self._stages.note(self._text)
                self._said = True
            if time.monotonic() > self._end:
                self._stages.warn("the other run did not end within engine.timeout; going on beside it")
                return False
            time.sleep(TRY_SECONDS)
        return True


def _locks(lock: TextIO) -> bool:
    """Lock a file, unless another process of this machine has."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _create(client: SyncPrefectClient, name: str) -> None:
    """Create the limit of one slot where there is none."""
    with contextlib.suppress(ObjectAlreadyExists):  # by another run, this very moment
        client.upsert_global_concurrency_limit_by_name(name, 1)


def _return_left(client: SyncPrefectClient, name: str, lock: TextIO) -> None:
    """Return the slot that a killed run of this machine left: whoever holds the lock knows that its process is gone."""
    lock.seek(0)
    try:
        record: dict[str, Any] = json.loads(lock.read())
    except ValueError:
        return
    if "lease" in record:
        _return(client, name, UUID(record["lease"]))


def _return(client: SyncPrefectClient, name: str, lease: UUID) -> None:
    """Return a leased slot. One whose lease the server does not know, as after a restart, would stay taken for ever."""
    try:
        client.renew_concurrency_lease(lease, LEASE_SECONDS)
    except (PrefectHTTPStatusError, ObjectNotFound):
        client.release_concurrency_slots([name], 1, occupancy_seconds=1.0)
    else:
        client.release_concurrency_slots_with_lease(lease)


class _Slot:
    """A slot of a concurrency limit, held by a lease that is renewed."""

    def __init__(self, client: SyncPrefectClient, name: str) -> None:
        self._client, self._name = client, name
        self._lease: UUID | None = None

    def take(self) -> bool:
        """Try to take it."""
        holder = ConcurrencyLeaseHolder(type="flow_run", id=UUID(str(flow_run.id)))
        try:
            answer = self._client.increment_concurrency_slots_with_lease([self._name], 1, "concurrency", LEASE_SECONDS, holder)
        except PrefectHTTPStatusError as error:
            if error.response.status_code != httpx.codes.LOCKED:
                raise
            return False
        self._lease = UUID(answer.json()["lease_id"])
        return True

    @contextlib.contextmanager
    def kept(self, lock: TextIO) -> Iterator[None]:
        """Renew it for the length of the block, and return it.

        A run that is interrupted or lost its server must end soon: it asks nothing more. The next run here finds the lease.
        """
        assert self._lease is not None
        _write(lock, {"lease": str(self._lease)})
        ended = threading.Event()
        threading.Thread(target=self._renew, args=(ended,), name="turn", daemon=True).start()
        hurry = False
        try:
            yield
        except (InfrastructureError, KeyboardInterrupt):
            hurry = True
            raise
        finally:
            ended.set()
            if not hurry:
                with contextlib.suppress(RuntimeError, *lost_server()):
                    _return(self._client, self._name, self._lease)
                    _write(lock, {})

    def _renew(self, ended: threading.Event) -> None:
        assert self._lease is not None
        while not ended.wait(RENEWAL_SECONDS):
            with contextlib.suppress(RuntimeError, ObjectNotFound, *lost_server()):
                self._client.renew_concurrency_lease(self._lease, LEASE_SECONDS)


def _write(lock: TextIO, record: dict[str, str]) -> None:
    """Keep a record in the lock's file."""
    lock.seek(0)
    lock.truncate()
    json.dump(record, lock)
    lock.flush()
