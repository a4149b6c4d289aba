"""From findings to the table's schema: every decision about a source, in one place."""

from __future__ import annotations

import pyarrow as pa

from tasks.contract.errors import SourceError
from tasks.contract.relations import check_relations
from tasks.contract.roles import TableSchema
from tasks.contract.spec import RolesSpec
from tasks.source.covariate import Decided, decide_covariate
from tasks.source.evidence import type_of
from tasks.source.findings import Findings
from tasks.source.outcome import decide_outcome
from tasks.source.profile import Profile
from tasks.source.selection import select
from tasks.source.treatment import decide_treatment

FEWEST_ROWS = 20


def conclude(found: Findings, roles: RolesSpec, *, folds: int, text: bool) -> tuple[TableSchema, Profile, tuple[str, ...]]:
    """Decide types, kinds, levels and ranges from an inspection's findings.

    Parameters
    ----------
    found : Findings
        Over the whole source.
    roles : RolesSpec
        The SPEC's roles.
    folds : int
        Fewest rows of an arm.
    text : bool
        Whether the source is CSV: types are read off the texts.

    Returns
    -------
    TableSchema, Profile, tuple of str
        The schema, the profile, and warnings for the user.

    Raises
    ------
    SourceError, SpecError
        See :meth:`tasks.source.inspection.Inspection.finish`.
    """
    if found.fields is None or found.rows == 0:
        raise SourceError("rows of source must be at least one; got 0.", "")
    selection = select(roles, found.names)
    _refuse_missing("outcome", roles.outcome, found.no_outcome, found.rows, roles.missing_outcome)
    _refuse_missing("treatment", roles.treatment, found.no_treatment, found.rows, roles.missing_treatment)
    if found.used < FEWEST_ROWS:
        raise SourceError(f"rows of source with treatment and outcome must be at least {FEWEST_ROWS}; got {found.used}.", "")
    fields = {field.name: _released(field, found, text) for field in found.fields}
    treatment = decide_treatment(fields[roles.treatment], found.columns[roles.treatment], roles, folds)
    outcome = decide_outcome(fields[roles.outcome], found.columns[roles.outcome], roles.outcome_kind)
    covariates = _decide_covariates(selection.covariates, fields, found, roles)
    if all(decided.column.constant for decided in covariates.values()):
        raise SourceError("covariates of roles must hold a column that varies; got constant ones alone.", "")
    columns = {name: decided.column for name, decided in covariates.items()}
    check_relations(roles.declared_relations, tuple(columns.values()))
    columns |= {roles.treatment: treatment.column, roles.outcome: outcome.column}
    profiles = {name: decided.profile for name, decided in covariates.items()}
    profiles |= {roles.treatment: treatment.profile, roles.outcome: outcome.profile}
    schema = TableSchema(
        columns=tuple(columns[name] for name in selection.ordered),
        treated=treatment.treated,
        control=treatment.control,
        outcome_kind=outcome.kind,
        rows=found.used,
    )
    profile = Profile(
        rows=found.rows,
        rows_used=found.used,
        dropped=found.rows - found.used,
        columns=tuple(profiles[name] for name in selection.ordered),
        arms=treatment.arms,
    )
    told = [warning for name in selection.covariates for warning in covariates[name].warnings]
    return schema, profile, (*outcome.warnings, *told)


def _decide_covariates(names: tuple[str, ...], fields: dict[str, pa.Field], found: Findings, roles: RolesSpec) -> dict[str, Decided]:
    """Decide every covariate; where several can't be used, say so of all of them at once."""
    decided: dict[str, Decided] = {}
    faults: list[SourceError] = []
    for number, name in enumerate(names):
        try:
            decided[name] = decide_covariate(name, f"w{number}", fields[name], found.columns[name], roles)
        except SourceError as fault:
            faults.append(fault)
    if faults:
        more = f" ({len(faults) - 5} more columns can't be used.)" if len(faults) > 5 else ""
        messages, hints = [fault.message for fault in faults[:5]], [fault.hint for fault in faults[:5]]
        raise SourceError(" ".join(dict.fromkeys(messages)) + more, " ".join(dict.fromkeys(hints)))
    return decided


def _released(field: pa.Field, found: Findings, text: bool) -> pa.Field:
    """Return the field a release has: the file's own, or what a CSV column's texts read as."""
    known = found.columns[field.name]
    return pa.field(field.name, type_of(known.readings) if known.known else pa.string()) if text else field


def _refuse_missing(role: str, name: str, missing: int, rows: int, wish: str) -> None:
    if missing and wish == "error":
        raise SourceError(
            f"{role} '{name}' must be known in every row; got {missing} of {rows} rows without it.",
            f'Set roles.missing_{role} = "drop" to leave them out.',
        )
