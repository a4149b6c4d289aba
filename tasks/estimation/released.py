"""A copy of a release as the estimators see it: the very arrays that it was judged by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from tasks.contract.columns import clusters_of
from tasks.contract.frames import levels_of, strata_codes, to_frame
from tasks.contract.nuisance import Float64
from tasks.contract.rng import UInt64
from tasks.contract.roles import TableSchema
from tasks.estimation.table import Table
from tasks.targeting.unobserved import placeholders


def released_table(
    schema: TableSchema,
    rows: pa.Table,
    keys: UInt64,
    subgroups: Sequence[str] = (),
    weights: Float64 | None = None,
    propensity: Float64 | None = None,
) -> Table:
    """Make the estimators' table of a copy's rows.

    Levels, columns and the treated label are those of the manifest's schema, and keys those that the rows had in the run, so that
    cross-fitting repeats what the run did.

    Parameters
    ----------
    schema : TableSchema
        Of the manifest.
    rows : pyarrow.Table, n rows
        Canonical: columns by id.
    keys : ndarray of uint64, shape (n,)
        :func:`tasks.contract.rng.release_keys` of each part, joined.
    subgroups : sequence of str
        Names of covariates.
    weights, propensity : ndarray of float64, shape (n,), optional
        Checked row weights, of which those of 0 leave a row out; known P(treated | W).

    Returns
    -------
    Table
    """
    y = rows.column(schema.outcome.id).to_numpy().astype(np.float64)
    present = ~np.isnan(y)
    order = np.argsort(keys)
    if weights is not None:
        order = order[weights[order] > 0.0]
    frame = to_frame(rows, schema.modelled).iloc[order].reset_index(drop=True)
    levels = {}
    for column in schema.modelled:
        if column.name in subgroups:
            texts = levels_of(frame[column.id])
            levels[column.name] = np.asarray(texts.where(frame[column.id].notna(), None), dtype=np.object_)
    return Table(
        covariates=frame,
        names={column.id: column.name for column in schema.modelled},
        label=rows.column("a").to_numpy().astype(np.int8)[order],
        ranks=tuple(range(len(schema.arms))),
        y=placeholders(y, present)[order],
        kind=schema.mean_kind,
        keys=keys[order],
        order=order,
        subgroups=levels,
        weights=None if weights is None else weights[order],
        propensity=None if propensity is None else propensity[order],
        clusters=None if (clusters := clusters_of(rows)) is None else clusters[order],
        strata=strata_codes(rows, schema.strata)[order] if schema.strata else None,
        labels=schema.arms,
        observed=None if present.all() else present[order],
    )
