"""From findings to the table's schema: every decision about a source, in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, ParamSpec, TypeVar

import pyarrow as pa

from tasks.contract.disclosure import few, shown_count
from tasks.contract.errors import SourceError, WaymintError
from tasks.contract.relations import check_relations
from tasks.contract.roles import TableSchema
from tasks.contract.spec import RolesSpec
from tasks.source.beside import decide_beside
from tasks.source.covariate import Decided, decide_covariate
from tasks.source.event import decide_event
from tasks.source.evidence import type_of
from tasks.source.findings import Findings
from tasks.source.hints import later_waves, measured_later
from tasks.source.identifiers import is_identifier, repeated_units
from tasks.source.outcome import DecidedOutcome, decide_outcome
from tasks.source.profile import Profile, protected_profile
from tasks.source.sampled import distinct_values
from tasks.source.selection import Selection, select
from tasks.source.treatment import DecidedTreatment, decide_treatment

P = ParamSpec("P")
T = TypeVar("T")
FEWEST_ROWS = 20
_SHOWN_FAULTS = 5


class Conclusion(NamedTuple):
    """What an inspection comes to: schema and profile where nothing is at fault, warnings, and every fault."""

    schema: TableSchema | None
    profile: Profile | None
    warnings: tuple[str, ...]
    faults: tuple[WaymintError, ...]


def conclude(
    findings: Findings, roles: RolesSpec, *, folds: int, text: bool, index: tuple[str, ...] = ()
) -> tuple[TableSchema, Profile, tuple[str, ...]]:
    """Decide types, kinds, levels and ranges from an inspection's findings, or raise what is at fault.

    Parameters
    ----------
    found, roles, folds, text, index
        As in :func:`decide`.

    Returns
    -------
    TableSchema, Profile, tuple of str
        The schema, the profile, and warnings for the user.

    Raises
    ------
    SourceError, SpecError
        The faults, up to five in one message.
    """
    concluded = decide(findings, roles, folds=folds, text=text, index=index)
    if concluded.faults:
        raise joined(concluded.faults)
    assert concluded.schema is not None  # without faults there are both
    assert concluded.profile is not None
    return concluded.schema, concluded.profile, concluded.warnings


def joined(faults: tuple[WaymintError, ...]) -> WaymintError:
    """Return one error that says up to five faults, of the class of the first."""
    shown = faults[:_SHOWN_FAULTS]
    more = f" ({len(faults) - len(shown)} more faults.)" if len(faults) > len(shown) else ""
    messages, hints = [fault.message for fault in shown], [fault.hint for fault in shown if fault.hint]
    return type(faults[0])(" ".join(dict.fromkeys(messages)) + more, " ".join(dict.fromkeys(hints)))


def decide(findings: Findings, roles: RolesSpec, *, folds: int, text: bool, index: tuple[str, ...] = ()) -> Conclusion:
    """Decide types, kinds, levels and ranges from an inspection's findings.

    Parameters
    ----------
    findings : Findings
        Over the whole source.
    roles : RolesSpec
        The SPEC's roles.
    folds : int
        Fewest rows of an arm.
    text : bool
        Whether the source is CSV: types are read off the texts.
    index : tuple of str
        Stored row index columns: no part of ``"*"``.

    Returns
    -------
    Conclusion
    """
    if findings.fields is None or findings.rows == 0:
        return _failed(SourceError("rows of source must be at least one; got 0.", ""))
    selection = select(roles, findings.names, index)
    faults: list[WaymintError] = [
        *_missing("outcome", "' or '".join(roles.outcome_columns), findings.no_outcome, findings.rows, roles.missing_outcome),
        *_missing("treatment", roles.treatment, findings.no_treatment, findings.rows, roles.missing_treatment),
    ]
    if findings.used < FEWEST_ROWS:
        fault = SourceError(f"rows of source with treatment and outcome must be at least {FEWEST_ROWS}; got {findings.used}.", "")
        return _failed(*faults, fault)
    fields = {field.name: _released(field, findings, text) for field in findings.fields}
    treatment = _attempt(faults, decide_treatment, fields[roles.treatment], findings.columns[roles.treatment], roles, folds)
    outcomes = [_attempt(faults, _decide_outcome, fields[name], findings, roles) for name in roles.outcome_columns]
    events: dict[str, Decided] = {}
    for name in roles.columns_by_role["event"]:
        decided = _attempt(faults, decide_event, fields[name], findings.columns[name], roles.cause_of_interest)
        events |= {} if decided is None else {name: decided}
    names, warnings = _without_identifiers(selection, fields, findings, roles)
    covariates: dict[str, Decided] = {}
    for number, name in enumerate(names):
        decided = _attempt(faults, decide_covariate, name, f"w{number}", fields[name], findings.columns[name], roles)
        if decided is not None:
            covariates[name] = decided
    beside = decide_beside(fields, findings, roles, folds)
    faults += beside.faults
    if not faults:
        _attempt(faults, check_relations, roles.declared_relations, tuple(decided.column for decided in covariates.values()))
    if not faults and all(decided.column.constant for decided in covariates.values()):
        faults.append(SourceError("covariates of roles must hold a column that varies; got none but constant ones.", ""))
    warnings = (*_index_line(index, roles), *warnings, *(warning for each in outcomes if each is not None for warning in each.warnings))
    warnings += tuple(warning for decided in covariates.values() for warning in decided.warnings) + beside.warnings
    warnings += _later_line(tuple(covariates), roles)
    if treatment is not None:
        warnings += repeated_units(names, fields, findings, treatment.arms)
    decided_outcomes = [each for each in outcomes if each is not None]
    if faults or treatment is None:
        return Conclusion(None, None, warnings, tuple(faults))
    return Conclusion(
        *_described(findings, selection, covariates | events | beside.columns, treatment, decided_outcomes, roles.cluster), warnings, ()
    )


def _decide_outcome(field: pa.Field, findings: Findings, roles: RolesSpec) -> DecidedOutcome:
    """Decide one outcome: the first is "y", the others "y1", "y2", ..."""
    name, place = field.name, roles.outcome_columns.index(field.name)
    one = decide_outcome(field, findings.columns[name], roles.of_outcome(name))
    # cells are missing there only where rows without outcome are kept
    gaps = shown_count(findings.columns[name].missing)
    column = one.column.model_copy(update={"id": f"y{place or ''}", "missing": gaps})
    shown = one.profile.model_copy(update={"missing": gaps, "missing_share": round(gaps / findings.used, 4)})
    return one._replace(column=column, profile=shown if gaps else one.profile)


def _failed(*faults: WaymintError) -> Conclusion:
    return Conclusion(None, None, (), faults)


def _attempt(faults: list[WaymintError], decision: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T | None:
    """Decide, or note why that can't be done: all faults are reported at once."""
    try:
        return decision(*arguments, **named)
    except WaymintError as fault:
        faults.append(fault)
        return None


def _described(
    findings: Findings,
    selection: Selection,
    others: dict[str, Decided],
    treatment: DecidedTreatment,
    outcomes: list[DecidedOutcome],
    clusters: str | None,
) -> tuple[TableSchema, Profile]:
    columns = {name: decided.column for name, decided in others.items()}
    columns |= {treatment.column.name: treatment.column, **{each.column.name: each.column for each in outcomes}}
    profiles = {name: decided.profile for name, decided in others.items()}
    profiles |= {treatment.column.name: treatment.profile, **{each.column.name: each.profile for each in outcomes}}
    ordered = [name for name in selection.ordered if name in columns]
    schema = TableSchema(
        columns=tuple(columns[name] for name in ordered),
        treated=treatment.labels[1],
        control=treatment.labels[0],
        arms=treatment.labels,
        outcome_kind=outcomes[0].kind,
        further_kinds=tuple(each.kind for each in outcomes[1:]),
        rows=findings.used,
        clusters=None if clusters is None else round(distinct_values(findings.columns[clusters].sample)),
    )
    return schema, protected_profile(findings.rows, findings.used, [profiles[name] for name in ordered], treatment.arms)


def _without_identifiers(
    selection: Selection, fields: dict[str, pa.Field], findings: Findings, roles: RolesSpec
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Leave identifiers out of ``"*"``; return the covariates that stay and a line for each that does not."""
    if roles.covariates != "*":
        return selection.covariates, ()
    kept = {*roles.kinds, *roles.subgroups, *roles.strata}
    out = [name for name in selection.covariates if name not in kept and is_identifier(fields[name].type, findings.columns[name])]
    if len(out) == len(selection.covariates):
        return selection.covariates, ()  # nothing else is left: to be refused by name
    lines = tuple(
        f"column '{name}' is left out of \"*\": every row has another value, as an identifier has; roles.kinds.{name} keeps it."
        for name in out
    )
    return tuple(name for name in selection.covariates if name not in out), lines


def _index_line(index: tuple[str, ...], roles: RolesSpec) -> tuple[str, ...]:
    """Say which stored row index columns are left out of ``"*"``."""
    declared = {name for key, names in roles.columns_by_role.items() if key != "covariates" for name in names}
    out = [name for name in index if name not in declared and name not in roles.kinds]
    if roles.covariates != "*" or not out:
        return ()
    listed = ", ".join(f"'{name}'" for name in out)
    return (f'stored row index left out of "*": {listed}; name it in roles.covariates, or in roles.kinds, to use it.',)


def _later_line(names: tuple[str, ...], roles: RolesSpec) -> tuple[str, ...]:
    """Say which columns of ``"*"`` are, by their names, measured after treatment."""
    if roles.covariates != "*":
        return ()
    waves = later_waves(names)
    later = [name for name in names if (measured_later(name) or name in waves) and name not in (*roles.kinds, *roles.subgroups)]
    if not later:
        return ()
    listed = ", ".join(f"'{name}'" for name in later)
    return (
        f'columns of "*" with a name of something measured after treatment: {listed}. Adjusting for such a column biases the effect; '
        "name it in roles.exclude, or the covariates in roles.covariates.",
    )


def _released(field: pa.Field, findings: Findings, text: bool) -> pa.Field:
    """Return the field a release has: the file's own, or what a CSV column's texts read as."""
    column = findings.columns[field.name]
    return pa.field(field.name, type_of(column.readings) if column.present else pa.string()) if text else field


#: What the hint adds for outcomes.
KEPT = ' roles.missing_outcome = "ipcw" keeps them and weights by the chance to be observed.'


def _missing(role: str, name: str, missing: int, rows: int, wish: str) -> list[WaymintError]:
    if not missing or wish != "error":
        return []
    return [
        SourceError(
            f"{role} '{name}' must be known in every row; got {few(missing)} of {rows} rows without it.",
            f'Set roles.missing_{role} = "drop" to leave them out.' + (KEPT if role == "outcome" else ""),
        )
    ]
