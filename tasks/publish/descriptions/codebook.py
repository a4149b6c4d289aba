"""The codebook of a release: what each column holds and how it was drawn."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from tasks.contract.columns import MARKER, cause_name, mechanism_columns
from tasks.contract.disclosure import FEW, SMALLEST_CELL
from tasks.contract.nuisance import suffix_of
from tasks.contract.roles import Column, TableSchema
from tasks.pages.template import fill
from tasks.publish.manifest import Manifest

TEMPLATE = "codebook.html.j2"
#: Levels of a column that the page shows.
MOST_SHOWN = 30
FEW_CELLS = f"{FEW} cells"
Logical = Literal["string", "integer", "number", "boolean", "date", "timestamp", "time"]


class Level(NamedTuple):
    """A value of a column with few values, and its label; empty where the SPEC has none."""

    value: str
    label: str

    def __str__(self) -> str:
        """Return both as a reader sees them."""
        return f"{self.value} = {self.label}" if self.label else self.value


class Entry(NamedTuple):
    """One column.

    Attributes
    ----------
    column : str
        Name.
    role : str
        As the SPEC assigns it; "truth" for the columns that ``release.include_nuisances`` adds, "marker" for that of an augmentation.
    kind, type : str
        Kind as the release treats it; Arrow type of the file.
    logical : str
        The type in words that every format knows.
    nullable : bool
        Whether the column may hold missing cells.
    label, unit : str
        From the section ``labels`` of the SPEC; empty where there is none.
    levels : tuple of Level
        Values of the treatment, of a categorical column and of a two-valued outcome; empty for others.
    ordered : bool
        Whether the levels are ordered in the source.
    decimals : int or None
        Decimals that numbers are rounded to; None for others.
    missing : float or None
        Share of missing cells in the source, in [0, 1]; None where fewer than five cells are missing, or fewer than five are not.
    drawn : str
        How the release's values were drawn.
    """

    column: str
    role: str
    kind: str
    type: str
    logical: Logical
    nullable: bool
    label: str
    unit: str
    levels: tuple[Level, ...]
    ordered: bool
    decimals: int | None
    missing: float | None
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
    if manifest.spec["release"].get("include_nuisances", False) and manifest.profile == "release":
        entries += [_added(name, "truth", pa.float64(), drawn) for name, drawn in truths(schema).items()]
    if manifest.profile == "augment":
        entries.append(_added(MARKER, "marker", pa.bool_(), "true for every row that was added to the source"))
    return tuple(entries)


def _entry(column: Column, schema: TableSchema, spec: Mapping[str, Any], label: Mapping[str, Any] | str) -> Entry:
    named: Mapping[str, Any] = {"label": label} if isinstance(label, str) else label
    arrow = column.arrow()
    return Entry(
        column=column.name,
        role=column.role,
        kind=column.kind,
        type=str(arrow.type),
        logical=logical(arrow.type),
        nullable=column.missing > 0,
        label=str(named.get("label", "")),
        unit=str(named.get("unit", "")),
        levels=_levels(column, schema, named.get("values") or {}),
        ordered=pa.types.is_dictionary(arrow.type) and bool(arrow.type.ordered),
        decimals=column.decimals,
        missing=_share(column.missing, schema.rows),
        drawn=_drawn(column, spec),
    )


def truths(schema: TableSchema) -> dict[str, str]:
    """Return what the columns that ``release.include_nuisances`` adds hold, by their names."""
    means = {
        "g": "probability of treatment that the row was drawn by",
        "q0": "mean outcome without treatment that the row was drawn by",
        "q1": "mean outcome with treatment that the row was drawn by",
    }
    if len(schema.arms) > 2:
        means = {f"g{arm}": f"probability of arm '{label}' that the row was drawn by" for arm, label in enumerate(schema.arms) if arm}
        means |= {f"q{arm}": f"mean outcome under arm '{label}' that the row was drawn by" for arm, label in enumerate(schema.arms)}
    treatments = (
        ("without treatment", "with treatment") if len(schema.arms) == 2 else tuple(f"under arm '{label}'" for label in schema.arms)
    )
    for number, column in enumerate(schema.outcomes):
        name, suffix = f"'{column.name}'" if len(schema.outcomes) > 1 else "the outcome", suffix_of(number)
        means |= {f"o{arm}{suffix}": f"probability that {name} is known {text}" for arm, text in enumerate(treatments)}
        if len(schema.outcomes) > 1:
            means |= {f"q{arm}{suffix}": f"mean of {name} {text} that the row was drawn by" for arm, text in enumerate(treatments)}
    if schema.survival is not None:
        until, times = f"{schema.survival.horizon:g}", list(enumerate(schema.survival.times, start=1))
        for arm, label in enumerate(schema.arms):
            means[f"q{arm}"] = f"mean time without the event up to {until} under arm '{label}' that the row was drawn by"
            means |= {f"s{at}_{arm}": f"chance to be without the event at {time:g} under arm '{label}'" for at, time in times}
            for number, cause in enumerate(schema.survival.causes, start=1):
                means[cause_name(number, 0, arm)] = f"mean time lost to '{cause}' up to {until} under arm '{label}'"
                means |= {cause_name(number, at, arm): f"chance of '{cause}' by {time:g} under arm '{label}'" for at, time in times}
    return {shown: means[name] for name, shown in mechanism_columns(schema).items()}


def _added(name: str, role: str, of: pa.DataType, drawn: str) -> Entry:
    """Describe a column that the source does not have."""
    kind = "boolean" if pa.types.is_boolean(of) else "continuous"
    return Entry(name, role, kind, str(of), logical(of), False, "", "", (), False, None, 0.0, drawn)


def _levels(column: Column, schema: TableSchema, labels: Mapping[str, Any]) -> tuple[Level, ...]:
    """Return values with their labels, in the order of an ordered dictionary, else as the schema lists them."""
    values = schema.arms if column.role == "treatment" else column.levels
    if column.dictionary:
        values = (*(word for word in column.dictionary if word in values), *(level for level in values if level not in column.dictionary))
    return tuple(Level(value, str(labels.get(value, ""))) for value in values)


def _share(missing: int, rows: int) -> float | None:
    """Return a share, None where it would give away a small count."""
    if 0 < missing < SMALLEST_CELL or 0 < rows - missing < SMALLEST_CELL:
        return None
    return missing / rows if rows else 0.0


def _drawn(column: Column, spec: Mapping[str, Any]) -> str:
    """Say in a few words what a column's values were drawn from."""
    if column.role in ("id", "cluster"):
        return "fresh keys, those of no unit of the source"
    if column.role == "weight":
        return "1 in every row: the release stands for the weighted population"
    if column.constant:
        return "constant, as in the source"
    if column.is_covariate or spec["release"]["mode"] == "full":
        return f"synthesizer '{spec['covariates']['synthesizer']}'"
    if column.role == "treatment":
        return f"design '{spec['mechanisms']['treatment']}'"
    if column.role == "passenger":
        return "law given covariates, treatment and outcome, fitted to the source"
    if column.role == "event":
        which = "its cause" if len(column.levels) > 2 else "1"
        return f"{which} where the time is that of an event: the earlier of times drawn from targeted hazards of event and censoring"
    return "cross-fitted, targeted outcome mechanism"


def logical(of: pa.DataType) -> Logical:
    """Return the name of an Arrow type that formats without Arrow's types know."""
    value = of.value_type if pa.types.is_dictionary(of) else of
    tests: tuple[tuple[Any, Logical], ...] = (
        (pa.types.is_boolean, "boolean"),
        (pa.types.is_integer, "integer"),
        (pa.types.is_floating, "number"),
        (pa.types.is_decimal, "number"),
        (pa.types.is_date, "date"),
        (pa.types.is_timestamp, "timestamp"),
        (pa.types.is_time, "time"),
    )
    return next((name for test, name in tests if test(value)), "string")


def missing_text(entry: Entry) -> str:
    """Write the share of missing cells: a number, or that there are too few to count."""
    return FEW_CELLS if entry.missing is None else f"{entry.missing:.6g}"


#: Columns of the CSV file, with what each writes of an entry.
COLUMNS: Mapping[str, Any] = {
    "column": lambda entry: entry.column,
    "label": lambda entry: entry.label,
    "role": lambda entry: entry.role,
    "kind": lambda entry: entry.kind,
    "type": lambda entry: entry.type,
    "unit": lambda entry: entry.unit,
    "levels": lambda entry: "; ".join(map(str, entry.levels)),
    "decimals": lambda entry: entry.decimals,
    "missing": missing_text,
    "drawn": lambda entry: entry.drawn,
}


def as_csv(entries: Sequence[Entry]) -> bytes:
    """Return the codebook as CSV, UTF-8."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([of(entry) for of in COLUMNS.values()] for entry in entries)
    return buffer.getvalue().encode()


def as_html(entries: Sequence[Entry], manifest: Manifest) -> bytes:
    """Return the codebook as a page that needs no other file."""
    about: Mapping[str, Any] = manifest.spec.get("about") or {}
    return fill(
        Path(__file__).parent,
        TEMPLATE,
        manifest=manifest,
        title=about.get("title") or manifest.name,
        description=about.get("description") or "",
        entries=entries,
        few=FEW_CELLS,
        most=MOST_SHOWN,
        labelled=any(entry.label for entry in entries),
    )
