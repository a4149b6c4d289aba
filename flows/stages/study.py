"""Ids, clusters, weights and passengers: what is said of them, and which commands refuse them."""

from __future__ import annotations

from tasks.contract.errors import SpecError
from tasks.contract.roles import Role, TableSchema
from tasks.contract.spec import Purpose

#: Roles that a command can't do with, and why.
_REFUSED: dict[str, tuple[tuple[Role, ...], str]] = {
    "augment": (
        ("id", "cluster", "weight", "passenger"),
        "Added rows have neither keys, clusters, weights nor passengers: leave the column out by roles.exclude.",
    ),
    "simulate": (("cluster",), "Simulated rows are independent: take one row of each cluster, or leave roles.cluster out."),
}
_KEYS: dict[str, str] = {"passenger": "passengers"}


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
    return [
        SpecError(f"{_KEYS.get(column.role, column.role)} of roles must be left out of {command}; got '{column.name}'.", hint)
        for column in schema.columns
        if column.role in refused
    ]


def study_notes(schema: TableSchema) -> tuple[str, ...]:
    """Say what a reader of a release must know of its columns beside (W, A, Y)."""
    notes = []
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
