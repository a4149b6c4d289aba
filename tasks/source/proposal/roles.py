"""Roles for a table: which columns may be treatment or outcome, and what is left out of the covariates, with reasons."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from tasks.contract.errors import SourceError, SpecError, WaymintError
from tasks.contract.labels import MOST_ARMS, affirmative, arms, is_control, listed_labels, match_label
from tasks.contract.roles import TableSchema
from tasks.contract.spec import ReadingSpec, RolesSpec
from tasks.source import hints
from tasks.source.conclusion import decide, joined
from tasks.source.dependence import dependences
from tasks.source.inspection import Inspection
from tasks.source.missing import without_values
from tasks.source.proposal.column import Examined
from tasks.source.rows import canonical

Role = Literal["treatment", "outcome"]


class Named(NamedTuple):
    """The columns and labels that a user has named.

    Attributes
    ----------
    treatment, outcome : str
    treated : str or None
        Of two labels; None where the treatment has more.
    event : str or None
    control : str or None
        The reference, where the treatment has more than two labels.
    """

    treatment: str
    outcome: str
    treated: str | None
    event: str | None
    control: str | None = None


class Proposal(NamedTuple):
    """Roles for a table.

    Attributes
    ----------
    roles : RolesSpec
        Covariates by name.
    left_out : dict of str to str
        Columns that are no covariates, with the reason.
    schema : TableSchema
        What the rows that were read come to.
    rows : pyarrow.Table
        These rows, canonical.
    warnings : tuple of str
    """

    roles: RolesSpec
    left_out: dict[str, str]
    schema: TableSchema
    rows: pa.Table
    warnings: tuple[str, ...]


def candidates(columns: Sequence[Examined], role: Role) -> tuple[str, ...]:
    """Return the columns that may have a role: those with a fitting name first, then in the table's order.

    Parameters
    ----------
    columns : sequence of Examined
    role : str
        A treatment has two labels with at least five rows each, or up to eight where its name says that it is one; an outcome is a
        column of numbers or of two labels.
    """
    if role == "treatment":
        fit = [column for column in columns if column.two_armed or (column.armed and hints.like_treatment(column.name))]
        return tuple(column.name for column in sorted(fit, key=lambda one: (not hints.like_treatment(one.name), one.unfit != "")))
    fit = [
        column
        for column in columns
        if column.usable and not column.unfit.startswith(("identifier", "free text", "names units", "by its name, it"))
    ]
    return tuple(column.name for column in sorted(fit, key=lambda one: not hints.like_outcome(one.name)))


def require_column(name: str, columns: Sequence[Examined], role: Role) -> Examined:
    """Return the column that a user named for a role.

    Raises
    ------
    SpecError
        If there is none of that name, or it can't have the role.
    """
    by_name = {column.name: column for column in columns}
    if name not in by_name:
        close = difflib.get_close_matches(name, by_name, n=1)
        hint = f"Did you mean '{close[0]}'?" if close else _listing(columns, role)
        raise SpecError(f"{role} of init must name a column of the table; got '{name}', which is not there.", hint)
    column = by_name[name]
    if not (column.armed if role == "treatment" else name in candidates(columns, role)):
        rule = f"have two to {MOST_ARMS} labels with at least 5 rows each" if role == "treatment" else "hold numbers or two labels"
        labels = "more labels" if column.labels is None else f"{len(column.labels)} labels{listed_labels(column.labels)}"
        raise SpecError(f"{role} of init must {rule}; got '{name}' of {labels}.", _listing(columns, role))
    return column


def positive_label(column: Examined, wanted: str | None, role: Role) -> str | None:
    """Return the label that means treated, or the event of an outcome; None where nothing says which.

    Parameters
    ----------
    column : Examined
    wanted : str or None
        As the user named it.
    role : str

    Raises
    ------
    SpecError
        If it is no label of the column.
    """
    if column.labels is None or len(column.labels) != 2:
        return None
    if wanted is None:
        pair = (arms if role == "treatment" else affirmative)(column.labels)
        return pair[1] if pair is not None else None
    label = match_label(wanted, column.labels)
    if label is None:
        key = "treated" if role == "treatment" else "event"
        raise SpecError(f"{key} of init must be a label of '{column.name}'{listed_labels(column.labels)}; got '{wanted}'.", "")
    return label


def reference_label(column: Examined, wanted: str | None) -> str | None:
    """Return the label of the reference arm: as the user named it, else the only one that is called like a control; None for neither.

    Parameters
    ----------
    column : Examined
        Of a treatment.
    wanted : str or None

    Raises
    ------
    SpecError
        If it is no label of the column.
    """
    labels = column.labels or {}
    if wanted is None:
        named = [label for label in labels if is_control(label)]
        return named[0] if len(named) == 1 else None
    label = match_label(wanted, labels)
    if label is None:
        raise SpecError(f"control of init must be a label of '{column.name}'{listed_labels(labels)}; got '{wanted}'.", "")
    return label


def propose(
    columns: Sequence[Examined], named: Named, rows: pa.Table, text: bool, index: tuple[str, ...], kinds: Mapping[str, Any]
) -> Proposal:
    """Propose roles.

    Parameters
    ----------
    columns : sequence of Examined
        All columns of the table.
    named : Named
        Treatment and outcome.
    rows : pyarrow.Table
        The rows that were read, all readable columns.
    text : bool
        Whether they are CSV text.
    index : tuple of str
        Stored row index columns.
    kinds : mapping of str to str
        Kinds to declare, by column.

    Raises
    ------
    SourceError
        If the table can't be used with this treatment and outcome.
    """
    by_name = {column.name: column for column in columns}
    left_out = _unfit(columns, named, index)
    covariates = tuple(name for name in by_name if name not in {*left_out, named.treatment, named.outcome})
    roles = _roles(named, covariates, by_name, kinds)
    reading = ReadingSpec(missing_values={column.name: column.codes for column in columns if column.codes})
    batch = without_values(rows.select([named.treatment, named.outcome, *covariates]), reading, text)
    inspection = Inspection(roles, index)
    concluded = decide(inspection.visit(inspection.start(), batch), roles, folds=1, text=text, index=index)
    if concluded.faults or concluded.schema is None:
        raise joined(concluded.faults)
    table = canonical(batch, concluded.schema, "csv" if text else "parquet")
    near = {pair.covariate: _reason(pair.determines, pair.share, named) for pair in dependences(table, concluded.schema)}
    kept = tuple(name for name in covariates if name not in near)
    if not kept:
        raise _no_covariate({**left_out, **near})
    schema = concluded.schema.model_copy(update={"columns": tuple(one for one in concluded.schema.columns if one.name not in near)})
    left_out = {name: {**left_out, **near}[name] for name in by_name if name in left_out or name in near}
    return Proposal(_roles(named, kept, by_name, kinds), left_out, schema, table, (*_units(concluded.warnings), *_doubts(kept)))


def _doubts(covariates: Sequence[str]) -> tuple[str, ...]:
    """Name covariates that may be outcomes, by their names: adjusting for what treatment changes biases the effect."""
    return tuple(
        f"covariate '{name}' is an outcome by its name: if treatment can change it, move it to passengers."
        for name in covariates
        if hints.like_outcome(name)
    )


def _unfit(columns: Sequence[Examined], named: Named, index: tuple[str, ...]) -> dict[str, str]:
    """Return the columns that are no covariates whatever they hold, with the reason."""
    reasons = {}
    for column in columns:
        if column.name in (named.treatment, named.outcome):
            continue
        if column.name in index:
            reasons[column.name] = "row index that a data frame stored"
        elif column.unfit:
            reasons[column.name] = column.unfit
        elif hints.like_weight(column.name):
            reasons[column.name] = "by its name, a sampling weight: it says how many others a row stands for"
        elif hints.measured_later(column.name):
            reasons[column.name] = "by its name, measured after treatment: adjusting for it biases the effect"
    if len(reasons) == len(columns) - 2:
        raise _no_covariate(reasons)
    return reasons


def _roles(named: Named, covariates: tuple[str, ...], columns: Mapping[str, Examined], kinds: Mapping[str, Any]) -> RolesSpec:
    treatment, outcome = columns[named.treatment], columns[named.outcome]
    return RolesSpec(
        treatment=named.treatment,
        treated=named.treated,
        control=named.control,
        outcome=named.outcome,
        event=named.event,
        covariates=covariates,
        kinds={name: kind for name, kind in kinds.items() if name in covariates},
        missing_treatment="drop" if treatment.missing else "error",
        missing_outcome="drop" if outcome.missing else "error",
    )


def _reason(determines: Role, share: float, named: Named) -> str:
    if determines == "treatment":
        return f"tells '{named.treatment}' in {share:.1%} of the rows: a copy of it, or the rule by which it was given"
    return f"explains {share:.1%} of the variance of '{named.outcome}': a copy of it, or measured with it"


def _units(warnings: tuple[str, ...]) -> tuple[str, ...]:
    """Return warnings that concern the design; those on single cells are for ``waymint check`` to say."""
    return tuple(line for line in warnings if "identifier of units" in line)


def _no_covariate(reasons: Mapping[str, str]) -> WaymintError:
    listed = "; ".join(f"'{name}': {reason}" for name, reason in list(reasons.items())[:5])
    return SourceError(f"covariates of init must be at least one column; got none that fits ({listed}).", "Write the SPEC by hand.")


def _listing(columns: Sequence[Examined], role: Role) -> str:
    names = candidates(columns, role)
    shown = ", ".join(f"'{name}'" for name in names[:20])
    return f"Candidates: {shown}{', ...' if len(names) > 20 else ''}." if names else f"No column can be the {role}."
