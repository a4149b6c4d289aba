"""Which commands a treatment of more than two arms is built for; the others refuse it."""

from __future__ import annotations

from tasks.contract.errors import SourceError
from tasks.contract.roles import TableSchema


def arm_faults(schema: TableSchema, command: str) -> list[SourceError]:
    """Return the refusal of a table whose treatment has more arms than a command is built for.

    Parameters
    ----------
    schema : TableSchema
        The table.
    command : str
        Such as ``"release"``.
    """
    if len(schema.arms) == 2:
        return []
    return [
        SourceError(
            f"treatment '{schema.treatment.name}' of a {command} must have two arms; got {len(schema.arms)}.",
            "'waymint estimate --control' compares all arms of a table; for this command keep the rows of two.",
        )
    ]
