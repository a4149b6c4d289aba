"""Entry point of ``waymint check``: everything that can be said of a SPEC and its table without a server, all at once."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from flows.stages.arms import arm_faults
from flows.stages.precheck import early_faults
from flows.stages.relations import relation_faults
from flows.stages.study import role_faults, study_notes, visit_faults
from flows.stages.survival_checks import survival_faults
from flows.stages.tables import OpenTable, open_table
from infra.store import open_store
from tasks.contract.errors import SourceError, SpecError, WaymintError
from tasks.contract.registry import resolve
from tasks.contract.roles import TableSchema
from tasks.contract.spec import Purpose, RolesSpec, Spec
from tasks.publish.descriptions.labels import label_faults
from tasks.publish.layout import access_key
from tasks.source.conclusion import Conclusion, decide
from tasks.source.dependence import MOST_ROWS, near_functions
from tasks.source.inspection import Findings, Inspection
from tasks.source.profile import Profile, profile_line
from tasks.source.rows import canonical
from tasks.source.sizes import size_faults, size_warnings

_GRAMMAR = re.compile(r"(?P<name>.+?) (?:must|may) (?P<rule>.+?); got (?P<value>.+)\.", re.DOTALL)


class Finding(NamedTuple):
    """One thing that a check says.

    Attributes
    ----------
    severity : str
        ``"error"`` or ``"warning"``.
    code : int
        Exit code of an error: 2, 4 or 5; 0 of a warning.
    name, rule, value : str
        What must be how, and how it is; ``rule`` and ``value`` are empty where a message has no such parts.
    message : str
        The whole sentence.
    hint : str
        The way out.
    """

    severity: Literal["error", "warning"]
    code: int
    name: str
    rule: str
    value: str
    message: str
    hint: str


def of_error(fault: WaymintError) -> Finding:
    """Return the finding of an error."""
    parts = _GRAMMAR.fullmatch(fault.message)
    name, rule, value = (parts["name"], parts["rule"], parts["value"]) if parts else (fault.message, "", "")
    return Finding("error", fault.exit_code, name, rule, value, fault.message, fault.hint)


def of_warning(line: str) -> Finding:
    """Return the finding of a warning; what stands behind the last semicolon or colon is its way out."""
    quoted = re.search(r"'([^']*)'", line)
    said, _, hint = line.rpartition("; ") if "; " in line else ("", "", "")
    return Finding("warning", 0, quoted[1] if quoted else "", "", "", said or line, hint)


def check(spec: Spec, purpose: Purpose = "release") -> tuple[dict[str, Any], list[str]]:
    """Check a SPEC and its table.

    Parameters
    ----------
    spec : Spec
    purpose : str
        The command that it is checked for.

    Returns
    -------
    tuple of dict and list of str
        The ``--json`` reply and lines for people.
    """
    faults = list(early_faults(spec, purpose))
    faults += _parameter_faults(spec)
    warnings: list[str] = []
    described: tuple[TableSchema, Profile] | None = None
    if not any(isinstance(fault, SourceError) for fault in faults) and "builtin source" not in str(faults):
        try:
            findings, concluded = _read(spec)
            faults += concluded.faults
            warnings += findings
            if concluded.schema is not None and concluded.profile is not None:
                described = concluded.schema, concluded.profile
                faults += label_faults(spec, concluded.schema)
                faults += [*arm_faults(concluded.schema, spec), *role_faults(concluded.schema, purpose)]
                faults += size_faults(spec, concluded.schema.units, concluded.profile.arms, purpose)
                warnings += size_warnings(spec, concluded.schema.units, concluded.profile.arms, purpose)
        except WaymintError as fault:
            faults.append(fault)
    faults += _store_faults(spec, faults)
    return reply_of(faults, warnings, described)


def reply_of(
    faults: Iterable[WaymintError], warnings: Iterable[str], described: tuple[TableSchema, Profile] | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Return the reply of a check and its lines for people; errors come once each, before warnings."""
    errors = list(dict.fromkeys(of_error(fault) for fault in faults))
    findings = errors + list(dict.fromkeys(of_warning(line) for line in warnings))
    code = min((one.code for one in errors), default=0)
    reply: dict[str, Any] = {"status": "error" if errors else "ok", "code": code, "findings": [one._asdict() for one in findings]}
    if errors:
        reply |= {"error": errors[0].message, "hint": errors[0].hint}
    lines = []
    for one in findings:
        lines.append(f"{one.severity}: {one.message}")
        if one.hint:
            lines.append(f"  hint: {one.hint}")
    if described is not None:
        schema, profile = described
        reply["table"] = {
            "rows": profile.rows,
            "rows_used": profile.rows_used,
            "arms": profile.arms,
            "outcome_kind": schema.outcome_kind,
            "covariates": [{"name": column.name, "kind": column.kind, "missing": column.missing} for column in schema.covariates],
        }
        lines.append(profile_line(profile, schema))
    warned = len(findings) - len(errors)
    counts = f"{len(errors)} {'error' if len(errors) == 1 else 'errors'}, {warned} {'warning' if warned == 1 else 'warnings'}"
    return reply, [*lines, f"check: {counts}"]


def _parameter_faults(spec: Spec) -> list[WaymintError]:
    """Return what is wrong with the parameters of synthesizer and learner, whose names are valid or already reported."""
    faults: list[WaymintError] = []
    wanted = (("synthesizer", spec.covariates.resolved(0).synthesizer, spec.covariates.params),)
    for kind, name, params in (*wanted, ("learner", spec.mechanisms.learner, spec.mechanisms.params)):
        if params:  # without any there is nothing to be wrong, and a synthesizer may take seconds to load
            try:
                resolve(kind, name, params)
            except WaymintError as fault:
                faults.append(fault)
    return faults


def _read(spec: Spec) -> tuple[list[str], Conclusion]:
    """Read the table once; return warnings and what it comes to, with the faults of every column."""
    opened = open_table(spec.source.uri, spec.source, "uri of source")
    roles = spec.declared_roles
    wanted = Inspection(roles, opened.index_columns).columns(opened.names)
    faults: list[WaymintError] = [*opened.faults(wanted)]
    bad = {name for name in wanted if opened.faults([name])}
    if bad:
        if bad | {roles.treatment, *roles.outcome_columns} >= set(wanted):
            raise faults[0]
        roles = _without(roles, bad, faults)
    inspection = Inspection(roles, opened.index_columns)
    wanted = inspection.columns(opened.names)
    state, held = _inspect(inspection, opened, wanted)
    folds, text = spec.mechanisms.folds, opened.form == "csv"
    concluded = decide(state, roles, folds=folds, text=text, index=opened.index_columns)
    lines = [*opened.notes, *concluded.warnings]
    if concluded.schema is not None:
        rows = canonical(held, concluded.schema, opened.form)
        lines += near_functions(rows, concluded.schema)
        lines += study_notes(concluded.schema)
        faults = [*faults, *relation_faults(rows, concluded.schema, roles), *survival_faults(rows, concluded.schema, spec)]
        faults += visit_faults(rows, concluded.schema, roles)
    return lines, concluded._replace(faults=(*faults, *concluded.faults))


def _without(roles: RolesSpec, bad: set[str], faults: Sequence[WaymintError]) -> RolesSpec:
    """Return roles without covariates that can't be read, so that the others are judged; without an arm or an outcome nothing is."""
    if bad & {roles.treatment, *roles.outcome_columns}:
        raise faults[0]
    if bad & {roles.cluster, roles.weight}:
        raise faults[0]
    lists = {key: tuple(name for name in getattr(roles, key) if name not in bad) for key in ("id", "strata", "passengers")}
    roles = roles.model_copy(update=lists)
    if roles.covariates == "*":
        return roles.model_copy(update={"exclude": (*roles.exclude, *sorted(bad))})
    left = tuple(name for name in roles.covariates if name not in bad)
    if not left:
        raise faults[0]
    kinds = {name: kind for name, kind in roles.kinds.items() if name not in bad}
    return roles.model_copy(update={"covariates": left, "kinds": kinds, "subgroups": tuple(n for n in roles.subgroups if n not in bad)})


def _inspect(inspection: Inspection, opened: OpenTable, wanted: tuple[str, ...]) -> tuple[Findings, pa.Table]:
    """Inspect every row; keep the first ones."""
    state, held, rows = inspection.start(), [], 0
    for batch in opened.read(wanted):
        state = inspection.visit(state, batch)
        if rows < MOST_ROWS:
            held.append(batch.slice(0, MOST_ROWS - rows))
            rows += held[-1].num_rows
    if not held:
        raise SourceError("rows of source must be at least one; got 0.", "")
    return state, pa.concat_tables(held)


def _store_faults(spec: Spec, faults: list[WaymintError]) -> list[WaymintError]:
    """Write and remove a small object: whether the store takes releases."""
    if any(isinstance(fault, SpecError) and fault.message.startswith("store.uri") for fault in faults):
        return []
    try:
        store = open_store(spec.store.uri, options=spec.store)
        key = access_key(spec.name, f"check-{uuid.uuid4().hex}")
        store.put(key, b"{}")
        store.delete(key)
    except WaymintError as fault:
        return [fault]
    return []
