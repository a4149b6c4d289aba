"""What the descriptions of a release share: its copies as tables of files, and its values in their types."""

from __future__ import annotations

from itertools import groupby

from tasks.contract.refs import FileRef
from tasks.publish.descriptions.codebook import Logical
from tasks.publish.manifest import Manifest


def copies(manifest: Manifest) -> list[tuple[FileRef, ...]]:
    """Return the Parquet parts of each copy, in the order of copies and parts."""
    parts = [file for file in manifest.files if file.path.startswith("data/")]
    numbered = sorted(parts, key=lambda file: (int(file.path.split("/")[1].rpartition("-")[2]), file.path))
    return [tuple(files) for _, files in groupby(numbered, key=lambda file: file.path.split("/")[1])]


def typed(value: str, logical: Logical) -> str | int | float | bool:
    """Return a level's text as a value of its column; text that is none stays text."""
    try:
        if logical == "integer":
            return int(float(value))
        if logical == "number":
            return float(value)
    except ValueError:
        return value
    if logical == "boolean" and value in ("true", "false"):
        return value == "true"
    return value
