"""Ids, clusters, weights and passengers: what is said of them, and which commands refuse them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.contract.disclosure import few
from tasks.contract.errors import SourceError, SpecError
from tasks.contract.roles import Role, TableSchema
from tasks.contract.spec import Purpose, RolesSpec

#: Roles that a command can't do with, and why.
_REFUSED: dict[str, tuple[tuple[Role, ...], str]] = {
    "augment": (
        ("cluster", "weight"),
        "Added rows belong to no cluster and weigh nothing: leave the column out by roles.exclude.",
    ),
}


def role_faults(schema: TableSchema, command: Purpose) -> list[SpecError]:
    """Return the refusal of roles that a command is not built for.

    Parameters
    ----------
    schema : TableSchema
        The table.
    command : str
        Such as ``"augment"``.
    """
    refused, hint = _REFUSED.get(command, ((), ""))
    if command == "simulate" and schema.cluster is not None and not (schema.plain and schema.survival is None):
        refused, hint = ("cluster",), "Clusters are simulated beside one outcome that is known in every row and no time to event."
    return [
        SpecError(f"{column.role} of roles must be left out of {command}; got '{column.name}'.", hint)
        for column in schema.columns
        if column.role in refused
    ]


def visit_faults(rows: pa.Table, schema: TableSchema, roles: RolesSpec) -> list[SourceError]:
    """Return what contradicts that outcomes are visits in their order: cells that are known after one that is missing.

    Parameters
    ----------
    rows : pyarrow.Table
        Canonical rows of the source.
    schema : TableSchema
    roles : RolesSpec
    """
    if not roles.visits:
        return []
    faults = []
    for before, after in itertools.pairwise(schema.outcomes):
        gone, absent = (rows.column(column.id).is_null(nan_is_null=True).to_numpy() for column in (before, after))
        back = int(np.sum(gone & ~absent))
        if back:
            faults.append(
                SourceError(
                    f"visits of roles must be missing for good; got {few(back)} rows without '{before.name}' and with '{after.name}'.",
                    "Take out roles.visits: cells may then be missing in any pattern.",
                )
            )
    return faults


def require_one_outcome(table: Mapping[str, Any], release: str, command: str) -> None:
    """Refuse a release of several outcomes, or with missing ones, where a command is not built for it.

    Raises
    ------
    SpecError
    """
    if not TableSchema.model_validate(table).plain:
        raise SpecError(
            f"release of {command} must have one outcome, known in every row; got {release}, which has several or misses some.",
            "'waymint estimate' takes it; for this command mint one of one outcome.",
        )


def study_notes(schema: TableSchema) -> tuple[str, ...]:
    """Say what a reader of a release must know of its columns beside (W, A, Y)."""
    notes = []
    if len(schema.outcomes) > 1:
        names = ", ".join(f"'{column.name}'" for column in schema.outcomes)
        notes.append(f"outcomes {names}: the effect on each is targeted; the headline figures are those of '{schema.outcome.name}'.")
    if schema.gaps:
        names = ", ".join(f"'{column.name}'" for column in schema.outcomes if column.missing)
        notes.append(
            f"cells of {names} are assumed to be missing at random given covariates and treatment: effects weight by the chance to be "
            "known."
        )
    if schema.weight is not None:
        notes.append(f"weight '{schema.weight.name}' is 1 in every released row: the release stands for the weighted population by itself.")
    if schema.passengers:
        names = ", ".join(f"'{column.name}'" for column in schema.passengers)
        one = len(schema.passengers) == 1
        notes.append(
            f"{'passenger' if one else 'passengers'} {names} {'is' if one else 'are'} drawn from the law given covariates, treatment and "
            "outcome; effects on such columns are not targeted."
        )
    return tuple(notes)
