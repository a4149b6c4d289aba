"""A release as MLCommons Croissant 1.0 (http://mlcommons.org/croissant/1.0), JSON-LD."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tasks.contract.refs import FileRef
from tasks.publish.descriptions.codebook import Entry, Logical
from tasks.publish.descriptions.subject import Subject, citation
from tasks.publish.descriptions.tables import copies
from tasks.publish.layout import copy_folder
from tasks.publish.manifest import Manifest

VERSION = "http://mlcommons.org/croissant/1.0"
#: The context that the format's specification gives.
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
TYPES: dict[Logical, str] = {
    "string": "sc:Text",
    "integer": "sc:Integer",
    "number": "sc:Float",
    "boolean": "sc:Boolean",
    "date": "sc:Date",
    "timestamp": "sc:DateTime",
    "time": "sc:Time",
}
PARQUET = "application/x-parquet"
_PLAIN = re.compile(r"[A-Za-z0-9._-]+")


def croissant(manifest: Manifest, entries: Sequence[Entry]) -> dict[str, Any]:
    """Describe a release: one file object for each part, one set of records for each copy.

    Parameters
    ----------
    manifest : Manifest
        Its files are at least the Parquet parts.
    entries : sequence of Entry
        The codebook.

    Returns
    -------
    dict
        JSON-LD of ``croissant.json``.
    """
    subject = Subject.of(manifest)
    tables = copies(manifest)
    dataset: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": VERSION,
        "name": manifest.name,
        "alternateName": subject.title,
        "description": subject.description,
        "version": f"{manifest.version}.0.0",
        "datePublished": manifest.created,
        "isLiveDataset": False,
        "citeAs": citation(manifest),
        "keywords": list(subject.keywords),
        "distribution": [each for number, files in enumerate(tables) for each in _distribution(number, files)],
        "recordSet": [_records(number, files, entries) for number, files in enumerate(tables)],
    }
    if subject.licence:
        dataset["license"] = subject.licence
    if subject.creators:
        dataset["creator"] = [{"@type": "sc:Organization", "name": creator} for creator in subject.creators]
    return dataset


def _distribution(copy: int, files: Sequence[FileRef]) -> list[dict[str, Any]]:
    """Describe the parts of a copy and, where there are several, the set they are."""
    objects: list[dict[str, Any]] = [
        {
            "@type": "cr:FileObject",
            "@id": file.path,
            "name": file.path,
            "contentUrl": file.path,
            "contentSize": f"{file.bytes} B",
            "encodingFormat": PARQUET,
            "sha256": file.sha256,
        }
        for file in files
    ]
    if len(files) > 1:
        whole = {
            "@type": "cr:FileSet",
            "@id": f"copy-{copy}-parts",
            "name": f"copy-{copy}-parts",
            "encodingFormat": PARQUET,
            "includes": f"{copy_folder(copy)}*.parquet",
        }
        objects.append(whole)
    return objects


def _records(copy: int, files: Sequence[FileRef], entries: Sequence[Entry]) -> dict[str, Any]:
    """Describe the rows of a copy, column by column."""
    name = f"copy-{copy}"
    origin = {"fileSet": {"@id": f"{name}-parts"}} if len(files) > 1 else {"fileObject": {"@id": files[0].path}}
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"{sum(file.rows or 0 for file in files):,} synthetic rows.",
        "field": [_field(f"{name}/{_key(entry, place)}", origin, entry) for place, entry in enumerate(entries)],
    }


def _key(entry: Entry, place: int) -> str:
    """Return a column's part of an identifier: its name where that has no blank or special character, else its place."""
    return entry.column if _PLAIN.fullmatch(entry.column) else f"columns/{place}"


def _field(key: str, origin: dict[str, Any], entry: Entry) -> dict[str, Any]:
    words = [entry.label, f"Unit: {entry.unit}." if entry.unit else "", f"Role: {entry.role}; drawn by {entry.drawn}."]
    if entry.levels:
        words.append(f"Values: {'; '.join(map(str, entry.levels))}.")
    return {
        "@type": "cr:Field",
        "@id": key,
        "name": entry.column,
        "description": " ".join(word for word in words if word),
        "dataType": TYPES[entry.logical],
        "source": {**origin, "extract": {"column": entry.column}},
    }
