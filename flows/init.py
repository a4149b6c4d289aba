"""Entry point of ``waymint init``: a table is profiled, and a commented SPEC proposed for it. No Prefect needed."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from infra.store import filesystem
from tasks.contract.errors import SourceError, WaymintError
from tasks.contract.frames import to_frame
from tasks.contract.relations import parse_relation, quote
from tasks.contract.spec import parse_spec
from tasks.source import hints
from tasks.source.builtin import BUILTIN, load_builtin
from tasks.source.dependence import MOST_ROWS
from tasks.source.dialect import Dialect
from tasks.source.plan import plan_source
from tasks.source.proposal.column import Examined, examine, unreadable
from tasks.source.proposal.document import Draft, document, quoted
from tasks.source.proposal.roles import Named, Proposal, candidates, positive_label, propose, reference_label, require_column
from tasks.source.read import column_faults, read_batches

__all__ = ["Profiled", "candidates", "draft", "positive_label", "profile", "reference_label", "release_name", "require_column", "screen"]


class Profiled(NamedTuple):
    """A table that was looked at.

    Attributes
    ----------
    uri : str
        As the user wrote it.
    columns : tuple of Examined
        In the table's order.
    rows : pyarrow.Table
        The first rows, readable columns.
    whole : bool
        Whether these are all rows.
    text : bool
        Whether they are CSV text.
    dialect : Dialect or None
    index_columns : tuple of str
        Stored row index columns.
    notes : tuple of str
        What a user should know of how the table is read.
    """

    uri: str
    columns: tuple[Examined, ...]
    rows: pa.Table
    whole: bool
    text: bool
    dialect: Dialect | None
    index_columns: tuple[str, ...]
    notes: tuple[str, ...]


def profile(uri: str) -> Profiled:
    """Look at a table's first rows.

    Parameters
    ----------
    uri : str
        A file, a folder, a glob or a built-in table.

    Raises
    ------
    SourceError
        If nothing is there, or it can't be read.
    """
    if uri.startswith(BUILTIN):
        table = load_builtin(uri.removeprefix(BUILTIN))
        rows, whole = table.slice(0, MOST_ROWS), table.num_rows <= MOST_ROWS
        return Profiled(uri, _examined(table.column_names, {}, rows, text=False), rows, whole, False, None, (), ())
    fs, path = filesystem(uri)
    plan = plan_source(fs, path, uri, MOST_ROWS, "FILE of init")
    faults = {name: faults[0] for name in plan.names if (faults := column_faults(plan, [name]))}
    names = [name for name in plan.names if name not in faults]
    if not names:
        raise next(iter(faults.values()))
    batches = (batch for fragment in plan.fragments for batch in read_batches(fs, plan, fragment, names))
    rows, whole = _first(batches)
    text = plan.format == "csv"
    columns = _examined(plan.names, faults, rows, text)
    return Profiled(uri, columns, rows, whole, text, plan.dialect, plan.index, plan.notes)


def draft(profiled: Profiled, named: Named) -> tuple[str, dict[str, Any]]:
    """Propose a SPEC.

    Parameters
    ----------
    profiled : Profiled
    named : Named
        Treatment and outcome, with their labels.

    Returns
    -------
    tuple of str and dict
        The SPEC as TOML, and the ``--json`` reply.
    """
    kinds = {column.name: column.wish for column in profiled.columns if column.wish}
    proposal = propose(profiled.columns, named, profiled.rows, profiled.text, profiled.index_columns, kinds)
    relations = _relations(proposal)
    name = release_name(profiled.uri)
    text = document(
        Draft(
            name,
            profiled.uri,
            profiled.rows.num_rows,
            profiled.whole,
            profiled.columns,
            profiled.dialect,
            proposal.roles,
            proposal.left_out,
            relations,
            proposal.warnings,
        )
    )
    parse_spec(tomllib.loads(text))
    reply = {
        "status": "ok",
        "name": name,
        "rows": profiled.rows.num_rows,
        "treatment": named.treatment,
        "outcome": named.outcome,
        "columns": [
            {"name": one.name, "kind": one.kind, "missing": one.missing, "role": _role(one.name, proposal), "codes": list(one.codes)}
            for one in profiled.columns
        ],
        "left_out": proposal.left_out,
        "relations": list(relations),
        "warnings": [*profiled.notes, *proposal.warnings],
    }
    return text, reply


def screen(profiled: Profiled) -> list[str]:
    """Return the profile as lines: column, kind, share of missing cells, guess of the role, and why."""
    cells = [("column", "kind", "missing", "guess", "why")]
    waves = hints.later_waves([column.name for column in profiled.columns])
    treatments, outcomes = candidates(profiled.columns, "treatment"), candidates(profiled.columns, "outcome")
    for column in profiled.columns:
        guess, why = guessed(column, profiled.index_columns, treatments, outcomes)
        if guess == "covariate" and column.name in waves:
            why = "; ".join(part for part in (why, f"a later wave of '{waves[column.name]}': still before treatment?") if part)
        cells.append((column.name, column.kind, f"{column.missing_share:.1%}" if column.missing else "-", guess, why))
    widths = [max(len(row[place]) for row in cells) for place in range(4)]
    extent = "rows" if profiled.whole else "first rows"
    lines = [f"{profiled.rows.num_rows:,} {extent}, {len(profiled.columns)} columns", ""]
    lines += ["  ".join((*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[4])).rstrip() for row in cells]
    return [*lines, "", *profiled.notes]


def guessed(column: Examined, index: Sequence[str], treatments: Sequence[str], outcomes: Sequence[str]) -> tuple[str, str]:
    """Return the guess of a column's role and the reason."""
    if column.name in index:
        return "left out", "row index that a data frame stored"
    guess, why = _guess(column, treatments, outcomes)
    codes = f"{column.coded:,} cells look like codes for missing ({', '.join(map(quoted, column.codes))})" if column.codes else ""
    return guess, "; ".join(part for part in (codes if not column.unfit else "", why) if part)


def _guess(column: Examined, treatments: Sequence[str], outcomes: Sequence[str]) -> tuple[str, str]:
    """Return the guess of a column's role by its labels and name, and the reason."""
    may = [role for role, names in (("treatment", treatments), ("outcome", outcomes)) if column.name in names]
    ability = f"may be {' or '.join(may)}" if may else ""
    if column.unfit:
        return "left out", column.unfit
    if hints.like_weight(column.name):
        return "left out", "by its name, a sampling weight"
    if hints.measured_later(column.name):
        return ("outcome or left out" if "outcome" in may else "left out"), "by its name, measured after treatment"
    if "treatment" in may and hints.like_treatment(column.name):
        return "treatment?", f"{'two' if column.two_armed else len(column.labels or {})} labels and its name; {ability}"
    if "outcome" in may and hints.like_outcome(column.name):
        return "outcome?", f"its name; {ability}"
    wish = "its values name things: categorical" if column.wish else ""
    return "covariate", "; ".join(part for part in (wish, ability if "treatment" in may else "") if part)


def release_name(uri: str) -> str:
    """Return a release's name from that of a file: ``Klinik Export (2).csv`` becomes ``klinik-export-2``."""
    stem = uri.rstrip("/").split("/")[-1].split(":")[-1]
    stem = re.sub(r"\.(csv|tsv|tab|txt|dat|parquet|pq|jsonl|ndjson|feather|arrow|gz|bz2|xz|zst)\b", "", stem.casefold())
    name = re.sub(r"[^a-z0-9]+", "-", stem).strip("-")[:64].strip("-")
    return name if name and name != "rejected" else "release"


def _examined(names: Sequence[str], faults: dict[str, SourceError], rows: pa.Table, text: bool) -> tuple[Examined, ...]:
    columns = []
    for name in names:
        try:
            columns.append(unreadable(name, faults[name]) if name in faults else examine(name, rows.column(name), text))
        except WaymintError as fault:
            columns.append(unreadable(name, fault))
    return tuple(columns)


def _first(batches: Iterator[pa.Table]) -> tuple[pa.Table, bool]:
    """Return the first ``MOST_ROWS`` rows, and whether these are all."""
    held: list[pa.Table] = []
    rows = 0
    for batch in batches:
        if rows + batch.num_rows > MOST_ROWS:
            held.append(batch.slice(0, MOST_ROWS - rows))
            return pa.concat_tables(held), False
        held.append(batch)
        rows += batch.num_rows
    if not rows:
        raise SourceError("rows of FILE must be at least one; got 0.", "")
    return pa.concat_tables(held), True


def _relations(proposal: Proposal) -> tuple[str, ...]:
    """Find relations between covariates and write them as ``roles.relations`` holds them; what it can't hold is left to the release."""
    from tasks.covariates.traits.bound import Ordered, describe
    from tasks.covariates.traits.relations import find_relations

    modelled = proposal.schema.modelled
    trait = find_relations(to_frame(proposal.rows, modelled), modelled, (), frozenset())
    if trait is None:
        return ()
    names = {column.id: quote(column.name) for column in modelled}
    texts: list[str] = []
    for bound in trait.relations:
        singles = [bound._replace(lows=(low,)) for low in bound.lows] if isinstance(bound, Ordered) else [bound]
        for text in (describe(single, names) for single in singles):
            try:
                parse_relation(text)
            except ValueError:
                continue
            texts.append(text)
    return tuple(texts)


def _role(name: str, proposal: Proposal) -> str:
    if name == proposal.roles.treatment:
        return "treatment"
    if name == proposal.roles.outcome:
        return "outcome"
    return "left out" if name in proposal.left_out else "covariate"
