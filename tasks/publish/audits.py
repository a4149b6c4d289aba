"""Audits that lie beside a version: a release never changes, so what attacks found later is kept apart from it."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from tasks.contract.errors import StoreError
from tasks.contract.store import Store
from tasks.publish.layout import audits_folder

#: An audit's record is a few statistics: a larger object is none.
MOST_BYTES = 2**20
_RECORD = "/audit.json"


class Finding(BaseModel):
    """One statistic of an attack, as far as its verdict needs it."""

    attack: str
    verdict: str


class AuditRecord(BaseModel):
    """What ``audit.json`` says, as far as a list of audits needs it."""

    created: str
    attacks: tuple[Finding, ...]


class AuditInfo(NamedTuple):
    """One audit of a version.

    Attributes
    ----------
    uri : str
        Folder of ``audit.html`` and ``audit.json``.
    record : AuditRecord or None
        None where the record can't be read.
    """

    uri: str
    record: AuditRecord | None


def list_audits(store: Store, name: str, version: int) -> list[AuditInfo]:
    """List the audits of a version, the oldest first.

    Raises
    ------
    StoreError
        If the store can't be listed.
    """
    keys = [item.key for item in store.list(audits_folder(name, version)) if item.key.endswith(_RECORD)]
    return [AuditInfo(f"{store.uri}/{key.removesuffix(_RECORD)}", _read(store, key)) for key in keys]


def _read(store: Store, key: str) -> AuditRecord | None:
    try:
        values: Any = json.loads(store.get(key, MOST_BYTES))
        return AuditRecord.model_validate(values)
    except (StoreError, ValidationError, ValueError):
        return None
