"""The table that a release name identifies: one name, one treatment, one outcome, one set of columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tasks.contract.errors import SpecError, StoreConflict, StoreError
from tasks.contract.roles import TableSchema
from tasks.contract.store import Store
from tasks.publish.layout import identity_key
from tasks.publish.manifest import MOST_BYTES

_FIELDS = ("treatment", "outcome", "columns")


def identity_of(schema: TableSchema) -> dict[str, Any]:
    """Return the identity of a table.

    Parameters
    ----------
    schema : TableSchema
        The source's schema.

    Returns
    -------
    dict
        ``treatment`` and ``outcome`` (names, of several outcomes all), ``columns`` ([[name, Arrow type], ...] in the source's order).
    """
    columns = [[column.name, str(column.arrow().type)] for column in schema.columns]
    return {"treatment": schema.treatment.name, "outcome": ", ".join(column.name for column in schema.outcomes), "columns": columns}


def check_identity(store: Store, name: str, identity: Mapping[str, Any]) -> None:
    """Check, without writing, that a name is free or identifies this table.

    Parameters
    ----------
    store : Store
        Where releases land.
    name : str
        The release name.
    identity : mapping
        As :func:`identity_of` makes it.

    Raises
    ------
    SpecError
        If the name identifies another table; the message names the differences.
    """
    key = identity_key(name)
    if not store.exists(key):
        return
    data = store.get(key, MOST_BYTES)
    try:
        record = json.loads(data)
        differing = [field for field in _FIELDS if record[field] != _canonical(identity)[field]]
    except (ValueError, KeyError, TypeError):
        raise StoreError(f"identity of '{name}' must be readable; got a damaged '{key}' in {store.uri}.") from None
    if differing:
        raise SpecError(
            f"name of SPEC must be new or stand for the same table; got '{name}', whose releases in {store.uri} differ in "
            f"{', '.join(_difference(field, record, identity) for field in differing)}.",
            "Choose another name, or another store.uri.",
        )


def bind_identity(store: Store, name: str, identity: Mapping[str, Any]) -> None:
    """Bind a name to a table, once and for all writers.

    Raises
    ------
    SpecError
        If it identifies another one.
    """
    body = json.dumps(_canonical(identity), indent=2, sort_keys=True, ensure_ascii=False)
    try:
        store.put_new(identity_key(name), f"{body}\n".encode())
    except StoreConflict:
        check_identity(store, name, identity)


def _canonical(identity: Mapping[str, Any]) -> dict[str, Any]:
    columns = [[str(name), str(kind)] for name, kind in identity["columns"]]
    return {"treatment": str(identity["treatment"]), "outcome": str(identity["outcome"]), "columns": columns}


def _difference(field: str, record: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    if field != "columns":
        return f"{field} ('{record[field]}' there, '{wanted[field]}' here)"
    there, here = dict(map(tuple, record["columns"])), dict(map(tuple, wanted["columns"]))
    parts = [
        ("only there", [name for name in there if name not in here]),
        ("only here", [name for name in here if name not in there]),
        ("of another type", [name for name in here if name in there and here[name] != there[name]]),
    ]
    texts = [f"{what}: {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}" for what, names in parts if names]
    return f"columns ({'; '.join(texts) or 'order'})"
