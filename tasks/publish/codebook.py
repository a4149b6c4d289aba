"""The codebook of a release: what each column holds and how it was drawn."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tasks.contract.roles import Column, TableSchema
from tasks.pages.template import fill
from tasks.publish.manifest import Manifest

TEMPLATE = "codebook.html.j2"
#: Columns that ``release.include_nuisances`` adds.
TRUTH = {
    "waymint_g": "probability of treatment that the row was drawn by",
    "waymint_q0": "mean outcome without treatment that the row was drawn by",
    "waymint_q1": "mean outcome with treatment that the row was drawn by",
}


class Entry(NamedTuple):
    """One column.

    Attributes
    ----------
    column : str
        Name.
    role : str
        "covariate", "treatment", "outcome", or "truth" for the columns that ``release.include_nuisances`` adds.
    kind, type : str
        Kind as the release treats it; Arrow type of the file.
    label, unit : str
        From the section ``labels`` of the SPEC; empty where there is none.
    levels : str
        Levels of a categorical column, separated by "; "; empty for others.
    decimals : int or None
        Decimals that numbers are rounded to; None for others.
    missing : float
        Share of missing cells in the source, in [0, 1].
    drawn : str
        How the release's values were drawn.
    """

    column: str
    role: str
    kind: str
    type: str
    label: str
    unit: str
    levels: str
    decimals: int | None
    missing: float
    drawn: str


def codebook(manifest: Manifest) -> tuple[Entry, ...]:
    """Describe every column of a release, in the order of the table.

    Parameters
    ----------
    manifest : Manifest
        The codebook repeats what it says; no row is read.
    """
    schema = TableSchema.model_validate(manifest.table)
    labels: Mapping[str, Any] = manifest.spec.get("labels") or {}
    entries = [_entry(column, schema, manifest.spec, labels.get(column.name) or {}) for column in schema.columns]
    if manifest.spec["release"].get("include_nuisances", False):
        entries += [Entry(name, "truth", "continuous", "double", "", "", "", None, 0.0, drawn) for name, drawn in TRUTH.items()]
    return tuple(entries)


def _entry(column: Column, schema: TableSchema, spec: Mapping[str, Any], label: Mapping[str, Any] | str) -> Entry:
    named = {"label": label} if isinstance(label, str) else label
    return Entry(
        column=column.name,
        role=column.role,
        kind=column.kind,
        type=str(column.arrow().type),
        label=str(named.get("label", "")),
        unit=str(named.get("unit", "")),
        levels="; ".join(column.levels),
        decimals=column.decimals,
        missing=column.missing / schema.rows if schema.rows else 0.0,
        drawn=_drawn(column, spec),
    )


def _drawn(column: Column, spec: Mapping[str, Any]) -> str:
    """Say in a few words what a column's values were drawn from."""
    if column.role == "covariate" or spec["release"]["mode"] == "full":
        return f"synthesizer '{spec['covariates']['synthesizer']}'"
    if column.role == "treatment":
        return f"design '{spec['mechanisms']['treatment']}'"
    return "cross-fitted, targeted outcome mechanism"


def as_csv(entries: Sequence[Entry]) -> bytes:
    """Return the codebook as CSV, UTF-8."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(Entry._fields)
    writer.writerows([f"{value:.6g}" if isinstance(value, float) else value for value in entry] for entry in entries)
    return buffer.getvalue().encode()


def as_html(entries: Sequence[Entry], title: str) -> bytes:
    """Return the codebook as a page that needs no other file."""
    return fill(Path(__file__).parent, TEMPLATE, title=title, fields=Entry._fields, entries=entries)
