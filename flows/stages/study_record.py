"""What a manifest says of ids, clusters, weights, strata and passengers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from infra.workspace import Run
from tasks.contract.columns import prediction_names, predictions_of, survey_weights, unit_keys
from tasks.contract.roles import TableSchema
from tasks.mechanisms.clusters import ClusterLaw, Intp, intraclass
from tasks.mechanisms.task import Copy
from tasks.nuisance.task import columns_of
from tasks.targeting.influence import effective_size

#: Released rows that tell how alike rows of one cluster are, at most.
ALIKE_ROWS = 1_000_000


def study_section(run: Run, schema: TableSchema, copies: Sequence[Copy]) -> dict[str, Any]:
    """Return what a manifest's ``source.study`` says of the first copy; empty where there are no such roles.

    Keys: ``ids`` and ``passengers`` (names), ``strata`` (names), ``weight`` (``rows``, and ``effective_rows`` by Kish),
    ``clusters`` (``source`` and ``release``: how many; ``icc_source`` and ``icc_release``: of outcome residuals; ``rho``: of the normal
    scores of ranks, each of the first outcome, and where there are several under ``outcomes`` of each; ``constant``: columns that are the
    same in a whole cluster; ``treated_whole``).
    """
    lists = {"ids": schema.ids, "strata": schema.strata, "passengers": schema.passengers}
    section: dict[str, Any] = {key: [column.name for column in columns] for key, columns in lists.items() if columns}
    if not schema.beside:
        return section
    space, first = run.space(), copies[0]
    counted = columns_of(space, first.fitted.nuisances, list(schema.beside))
    weights = survey_weights(counted)
    if weights is not None:
        section["weight"] = {"rows": len(weights), "effective_rows": effective_size(weights)}
    if first.models.clusters is not None:
        law: ClusterLaw = space.model(first.models.clusters)
        columns = ["a", *(column.id for column in schema.outcomes), *prediction_names(schema), "c"]
        parts = [part.canonical for part in first.drawn]
        drawn = space.first_rows(parts, ALIKE_ROWS, columns)
        place = np.unique(unit_keys(drawn), return_inverse=True)[1]
        alike = _likeness(schema, law, drawn, place)
        section["clusters"] = {
            "source": len(law.sizes),
            "release": sum(len(np.unique(unit_keys(space.table(part, ["c"])))) for part in parts),
            **alike[0],
            "constant": [column.name for column in schema.covariates if column.constant or column.id in law.constant],
            "treated_whole": law.treated_whole,
        }
        if len(alike) > 1:
            section["clusters"]["outcomes"] = [
                {"outcome": column.name, **each} for column, each in zip(schema.outcomes, alike, strict=True)
            ]
    return section


def _likeness(schema: TableSchema, law: ClusterLaw, drawn: pa.Table, place: Intp) -> list[dict[str, float]]:
    """Return how alike the residuals of each outcome are within clusters, of rows that have it."""
    a, predictions, likeness = drawn.column("a").to_numpy(), predictions_of(drawn), []
    for number, column in enumerate(schema.outcomes):
        rest = drawn.column(column.id).to_numpy() - predictions.of(number).observed(a)
        present = ~np.isnan(rest)
        of, alike = np.unique(place[present], return_inverse=True)[1].astype(np.intp), law.every[number]
        likeness.append({"icc_source": alike.icc, "icc_release": intraclass(rest[present], of), "rho": alike.rho})
    return likeness
