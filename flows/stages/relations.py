"""Declared relations, tried on a table's first rows: what breaks them is said before anything is fitted."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from tasks.contract.errors import EstimationError, SourceError
from tasks.contract.frames import to_frame
from tasks.contract.roles import TableSchema
from tasks.contract.spec import RolesSpec


def relation_faults(rows: pa.Table, schema: TableSchema, roles: RolesSpec) -> Iterator[SourceError]:
    """Yield one error for each declared relation that the rows break.

    Parameters
    ----------
    rows : pyarrow.Table
        Canonical rows, a sample of the table where it is large: the fit looks at all training rows.
    schema : TableSchema
    roles : RolesSpec
    """
    if not roles.relations:
        return
    # the covariates' step loads pandas and more: only who needs it waits
    from tasks.covariates.traits.bound import cells_of
    from tasks.covariates.traits.declared import plan_declared

    cells = cells_of(to_frame(rows, schema.modelled))
    for relation in roles.declared_relations:
        try:
            plan_declared((relation,), cells, schema.modelled)
        except EstimationError as fault:
            yield SourceError(fault.message.replace("every training row", "every row"), fault.hint)
