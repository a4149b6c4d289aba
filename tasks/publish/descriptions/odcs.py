"""A release as a data contract: Open Data Contract Standard 3.1 (https://bitol-io.github.io/open-data-contract-standard)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from typing import Any

from tasks.contract.gates import gate_row
from tasks.contract.results import Gate
from tasks.publish.descriptions.codebook import Entry
from tasks.publish.descriptions.subject import NOTE, Subject
from tasks.publish.descriptions.tables import copies, typed
from tasks.publish.layout import copy_folder
from tasks.publish.manifest import Manifest

VERSION = "v3.1.0"
#: Dimensions of the standard; closeness to persons and attacks have none there.
DIMENSIONS = {"law": "accuracy", "overlap": "coverage", "form": "conformity"}
#: Arrow's names of types as SQL engines read them from Parquet.
PHYSICAL = {
    "bool": "boolean",
    "int8": "tinyint",
    "int16": "smallint",
    "int32": "integer",
    "uint8": "smallint",
    "uint16": "integer",
    "uint32": "bigint",
    "uint64": "decimal(20,0)",
    "int64": "bigint",
    "float": "float",
    "double": "double",
    "date32[day]": "date",
}
#: Contracts of one release have one id, whoever writes them.
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://waymint/contracts")


def data_contract(manifest: Manifest, entries: Sequence[Entry]) -> dict[str, Any]:
    """Describe a release as a contract whose quality rules are its gates.

    Parameters
    ----------
    manifest : Manifest
        Its files are at least the Parquet parts.
    entries : sequence of Entry
        The codebook.

    Returns
    -------
    dict
        Content of ``odcs.yaml``. Gates are rules of the engine "waymint"; rows, missing cells and levels are rules of the standard's
        library, which any tool can test on the files.
    """
    subject, tables = Subject.of(manifest), len(copies(manifest))
    contract: dict[str, Any] = {
        "apiVersion": VERSION,
        "kind": "DataContract",
        "id": str(uuid.uuid5(NAMESPACE, f"{manifest.name}/{manifest.version}/{manifest.run}")),
        "name": subject.title,
        "version": f"{manifest.version}.0.0",
        "status": "active",
        "dataProduct": manifest.name,
        "description": {"purpose": subject.description, "limitations": NOTE},
        "tags": list(subject.keywords),
        "servers": [
            {"server": f"copy_{number}", "type": "local", "path": f"{copy_folder(number)}*.parquet", "format": "parquet"}
            for number in range(tables)
        ],
        "schema": [_table(number, tables, manifest, entries) for number in range(tables)],
        "customProperties": [
            {"property": "release", "value": manifest.name},
            {"property": "manifest", "value": "manifest.json"},
            {"property": "madeBy", "value": f"waymint {manifest.code.get('version', '?')}"},
        ],
    }
    if subject.licence:
        contract["customProperties"].append({"property": "licence", "value": subject.licence})
    if subject.creators:
        contract["team"] = {"name": ", ".join(subject.creators)}
    return contract


def _table(copy: int, of: int, manifest: Manifest, entries: Sequence[Entry]) -> dict[str, Any]:
    """Describe one copy; the gates judge all copies, and stand with the first."""
    rows = sum(file.rows or 0 for file in copies(manifest)[copy])
    return {
        "name": f"copy_{copy}",
        "physicalType": "parquet",
        "logicalType": "object",
        "description": f"{rows:,} synthetic rows{f', copy {copy} of {of}' if of > 1 else ''}.",
        "properties": [_property(entry) for entry in entries],
        "quality": [
            {"name": "rows", "type": "library", "metric": "rowCount", "mustBe": rows, "dimension": "completeness"},
            *([_rule(gate) for gate in manifest.gates if gate.status != "off"] if copy == 0 else []),
        ],
    }


def _rule(gate: Gate) -> dict[str, Any]:
    """Write a gate as a rule; what it measured when the release was made stands beside its bound."""
    row = gate_row(gate.name)
    rule: dict[str, Any] = {
        "name": gate.name,
        "description": gate.name if row is None else f"{row.title}: {row.meaning}",
        "type": "custom",
        "engine": "waymint",
        "severity": "error",
        "implementation": {"gate": gate.name, "rule": gate.rule, "threshold": gate.threshold, "value": gate.value, "status": gate.status},
    }
    if row is not None and row.family in DIMENSIONS:
        rule["dimension"] = DIMENSIONS[row.family]
    return rule


def physical(entry: Entry) -> str:
    """Return a column's type as SQL engines read it from the files."""
    if entry.type in PHYSICAL:
        return PHYSICAL[entry.type]
    if entry.logical == "timestamp":
        return "timestamp_tz" if "tz=" in entry.type else "timestamp_ntz"
    decimal = re.fullmatch(r"decimal\d+\((\d+), (\d+)\)", entry.type)
    if decimal:
        return f"decimal({decimal[1]},{decimal[2]})"
    return {"integer": "bigint", "number": "double", "date": "date", "time": "time"}.get(entry.logical, "varchar")


def _property(entry: Entry) -> dict[str, Any]:
    described: dict[str, Any] = {"name": entry.column, "logicalType": entry.logical, "physicalType": physical(entry)}
    if entry.label:
        described["businessName"] = entry.label
    described |= {"description": f"{entry.role}: {entry.drawn}", "required": not entry.nullable}
    meanings = {each.value: each.label for each in entry.levels if each.label}
    more = {"unit": entry.unit, "valueLabels": meanings}
    if any(more.values()):
        described["customProperties"] = [{"property": name, "value": value} for name, value in more.items() if value]
    if entry.levels and entry.logical in ("string", "integer"):
        values = [typed(each.value, entry.logical) for each in entry.levels]
        described["quality"] = [
            {
                "name": "values",
                "type": "library",
                "metric": "invalidValues",
                "arguments": {"validValues": values},
                "mustBe": 0,
                "dimension": "conformity",
            }
        ]
    return described
