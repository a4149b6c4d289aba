"""A time to event in a SPEC: which commands and keys it is built for, and what its table must hold."""

from __future__ import annotations

import pyarrow as pa

from tasks.contract.errors import SpecError, WaymintError
from tasks.contract.roles import TableSchema
from tasks.contract.spec import Purpose, Spec
from tasks.source.survival import with_periods


def survival_faults(rows: pa.Table, schema: TableSchema, spec: Spec) -> list[WaymintError]:
    """Return why a table's time to event can't be released.

    Parameters
    ----------
    rows : pyarrow.Table
        Canonical rows, the first ones of a large table.
    schema : TableSchema
    spec : Spec
    """
    try:
        with_periods(schema, rows, spec.outcome)
    except WaymintError as fault:
        return [fault]
    return []


def time_faults(spec: Spec, command: Purpose) -> list[SpecError]:
    """Return the refusal of keys and commands that a time to event is not built for; none for other outcomes.

    Parameters
    ----------
    spec : Spec
    command : str
        Such as ``"release"``.
    """
    if spec.outcome.kind != "survival":
        return []
    name = spec.roles.outcome
    if command not in ("release", "audit", "simulate", "compare"):
        hint = "All other commands that take a SPEC take it; here declare a binary outcome, such as an event by one year."
        return [SpecError(f"kind of outcomes.{name} must be another than 'survival' in {command}; got 'survival'.", hint)]
    settings = spec.mechanisms
    wanted = (
        ("subgroups of roles", bool(spec.roles.subgroups), "left out", "curves of subgroups are not targeted"),
        ("targets of mechanisms", settings.targets != ("ate",), "['ate']", "curves of all rows are targeted"),
        ("outcome_range of mechanisms", settings.outcome_range is not None, "left out", "a time has no other bound than the follow-up"),
    )
    return [
        SpecError(f"{key} must be {rule} for a time to event; got another value.", f"{why[0].upper()}{why[1:]}.")
        for key, wrong, rule, why in wanted
        if wrong
    ]
