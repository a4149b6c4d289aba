"""Labels of a SPEC that name what a release does not have."""

from __future__ import annotations

from tasks.contract.columns import MARKER, mechanism_columns
from tasks.contract.errors import SpecError
from tasks.contract.roles import TableSchema
from tasks.contract.spec import Spec

_MOST_NAMED = 8


def label_faults(spec: Spec, schema: TableSchema) -> tuple[SpecError, ...]:
    """Return an error for each section of ``labels`` whose column is not released.

    Parameters
    ----------
    spec : Spec
    schema : TableSchema
        The columns of the release, but for those that waymint adds.
    """
    names = [column.name for column in schema.columns]
    added = {MARKER, *mechanism_columns(schema).values()}
    shown = ", ".join(names[:_MOST_NAMED]) + (", ..." if len(names) > _MOST_NAMED else "")
    return tuple(
        SpecError(f"labels.{name} of SPEC must name a released column; got '{name}'.", f"Released are {shown}.")
        for name in spec.labels
        if name not in names and name not in added
    )
