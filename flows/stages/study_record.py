"""What a manifest says of ids, clusters, weights, strata and passengers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from infra.workspace import Run
from tasks.contract.columns import nuisances_of, survey_weights, unit_keys
from tasks.contract.nuisance import nuisance_names
from tasks.contract.roles import TableSchema
from tasks.mechanisms.clusters import ClusterLaw, intraclass
from tasks.mechanisms.task import Copy
from tasks.nuisance.task import columns_of
from tasks.targeting.influence import effective_size


def study_section(run: Run, schema: TableSchema, copies: Sequence[Copy]) -> dict[str, Any]:
    """Return what a manifest's ``source.study`` says of the first copy; empty where there are no such roles.

    Keys: ``ids`` and ``passengers`` (names), ``strata`` (names), ``weight`` (``rows``, and ``effective_rows`` by Kish),
    ``clusters`` (``source`` and ``release``: how many; ``icc_source`` and ``icc_release``: of outcome residuals; ``rho``: of the normal
    scores of ranks; ``constant``: columns that are the same in a whole cluster; ``treated_whole``).
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
        columns = ["a", "y", *nuisance_names(len(schema.arms)), "c"]
        drawn = pa.concat_tables([space.table(part.canonical, columns) for part in first.drawn])
        a, y = (drawn.column(name).to_numpy() for name in ("a", "y"))
        names, place = np.unique(unit_keys(drawn), return_inverse=True)
        section["clusters"] = {
            "source": len(law.sizes),
            "release": len(names),
            "icc_source": law.icc,
            "icc_release": intraclass(y - nuisances_of(drawn).observed(a), place),
            "rho": law.rho,
            "constant": [column.name for column in schema.covariates if column.constant or column.id in law.constant],
            "treated_whole": law.treated_whole,
        }
    return section
