"""A release as a Frictionless Data Package (https://datapackage.org, version 2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tasks.publish.descriptions.codebook import Entry
from tasks.publish.descriptions.subject import Subject
from tasks.publish.descriptions.tables import copies, typed
from tasks.publish.manifest import Manifest

PROFILE = "https://datapackage.org/profiles/2.0/datapackage.json"
#: Names of types that differ from ours.
TYPES = {"timestamp": "datetime"}
_NAME = re.compile(r"[-a-zA-Z0-9._]+")


def data_package(manifest: Manifest, entries: Sequence[Entry]) -> dict[str, Any]:
    """Describe a release: one resource for each copy, whose parts are one table.

    Parameters
    ----------
    manifest : Manifest
        Its files are at least the Parquet parts.
    entries : sequence of Entry
        The codebook.

    Returns
    -------
    dict
        JSON of ``datapackage.json``.
    """
    subject = Subject.of(manifest)
    package: dict[str, Any] = {
        "$schema": PROFILE,
        "name": manifest.name,
        "title": subject.title,
        "description": subject.description,
        "version": f"{manifest.version}.0.0",
        "created": manifest.created,
        "keywords": list(subject.keywords),
        "sources": [{"title": "source table, not part of the package"}],
    }
    if subject.creators:
        package["contributors"] = [{"title": creator, "roles": ["creator"]} for creator in subject.creators]
    if subject.licence:
        key = "name" if _NAME.fullmatch(subject.licence) else "path" if "://" in subject.licence else "title"
        package["licenses"] = [{key: subject.licence} if key != "title" else {"name": "other", "title": subject.licence}]
    fields = [_field(entry) for entry in entries]
    package["resources"] = [
        {
            "name": f"copy-{number}",
            "title": f"Copy {number}" if len(copies(manifest)) > 1 else "The table",
            "path": files[0].path if len(files) == 1 else [file.path for file in files],
            "format": "parquet",
            "mediatype": "application/vnd.apache.parquet",
            # not "bytes" and "hash": validators compute them of one text file, not of Parquet parts
            "parts": [{"path": file.path, "bytes": file.bytes, "sha256": file.sha256} for file in files],
            "schema": {"fields": fields},
        }
        for number, files in enumerate(copies(manifest))
    ]
    return package


def _field(entry: Entry) -> dict[str, Any]:
    """Describe one column."""
    field: dict[str, Any] = {"name": entry.column, "type": TYPES.get(entry.logical, entry.logical)}
    if entry.label:
        field["title"] = entry.label
    field["description"] = f"{entry.role}: {entry.drawn}"
    if entry.unit:
        field["unit"] = entry.unit
    if entry.levels and entry.logical in ("string", "integer"):
        values = [typed(level.value, entry.logical) for level in entry.levels]
        field["categories"] = [
            {"value": value, "label": level.label} if level.label else {"value": value} for value, level in zip(values, entry.levels)
        ]
        if entry.ordered:
            field["categoriesOrdered"] = True
    constraints: dict[str, Any] = {} if entry.nullable else {"required": True}
    if entry.levels and entry.logical in ("string", "integer"):
        constraints["enum"] = [typed(level.value, entry.logical) for level in entry.levels]
    return {**field, **({"constraints": constraints} if constraints else {})}
