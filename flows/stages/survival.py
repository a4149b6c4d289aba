"""Estimates of a time to event on a table, for ``waymint estimate --outcome-kind survival``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from flows.stages.tables import canonical_rows, check_extras, cluster_hashes, open_table, strata_of
from flows.stages.wording import as_options
from tasks.contract.columns import decode
from tasks.contract.errors import SpecError
from tasks.contract.roles import TableSchema
from tasks.contract.spec import Label, ReadingSpec, RolesSpec, SurvivalRoles
from tasks.estimation.cautions import cluster_warnings
from tasks.estimation.row_values import known_weights
from tasks.estimation.survival.analysis import analyse_survival
from tasks.estimation.survival.answer import survival_answer
from tasks.estimation.survival.table import SurvivalRoles as FrameRoles
from tasks.estimation.survival.table import read_survival
from tasks.source.inspection import Inspection


def estimate_times(
    data: str, roles: RolesSpec, event: str | None, reading: ReadingSpec, options: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Read a table and estimate survival probabilities and restricted means.

    Parameters
    ----------
    data : str
        As for :func:`flows.estimate.estimate`; no release.
    roles : RolesSpec
        The outcome is the time.
    event : str or None
        Column that holds 1 for an event and 0 for censoring.
    reading : ReadingSpec
    options : dict
        ``horizon``, ``times``, ``cause``, ``estimators``, ``learner``, ``folds``, ``repeats``, ``seed``, ``weights``, ``cluster``.

    Returns
    -------
    tuple of dict and list of str

    Raises
    ------
    SpecError
        If no column of events is named, or an option is given that a time to event has no use for.
    """
    if not event:
        raise SpecError("--event must name the column of events for a survival outcome; got nothing.", "1 is an event, 0 is censoring.")
    if options.get("propensity") is not None:
        raise SpecError("--propensity must be left out for a survival outcome; got a value.", "It is estimated.")
    opened, cause = open_table(data, reading), options.get("cause")
    weights, cluster = options.get("weights"), options.get("cluster")
    extras = tuple(dict.fromkeys(name for name in (weights, cluster) if name))
    if roles.covariates == "*":
        roles = roles.model_copy(update={"exclude": tuple(dict.fromkeys((*roles.exclude, *extras)))})
    check_extras((event, *extras), opened.names, roles)
    roles = SurvivalRoles(**roles.model_dump() | {"outcome_kind": "survival"}, column_of_events=event, cause=cause)
    inspection = Inspection(roles, opened.index_columns)
    wanted = (*inspection.columns(opened.names), *extras)
    batches, state = [], inspection.start()
    for batch in opened.read(wanted):
        state = inspection.visit(state, batch)
        batches.append(batch)
    described = inspection.finish(state, roles, folds=options["folds"], source_format=opened.form)
    schema = described.table
    canonicals = [canonical_rows(batch, schema, opened.form, {"weights": weights, "propensity": None}) for batch in batches]
    frame = decode(schema, pa.concat_tables([table for table, _ in canonicals]).unify_dictionaries()).to_pandas()
    given = None if weights is None else known_weights(np.concatenate([beside[0] for _, beside in canonicals]), len(frame))
    clusters = None if not cluster else np.concatenate([cluster_hashes(batch, schema, cluster) for batch in batches])
    strata = strata_of(frame, [rows for rows, _ in canonicals], schema)
    table = read_survival(frame, survival_roles(schema, event, cause), given, clusters, strata=strata)
    chosen = {key: options[key] for key in ("estimators", "seed", "learner", "folds", "repeats") if options.get(key) is not None}
    analysis = analyse_survival(table, options.get("horizon"), options.get("times", ()), **chosen)
    warnings = [as_options(text) for text in (*opened.notes, *described.warnings)]
    if clusters is not None:
        warnings = [line for line in warnings if not line.startswith(f"column '{cluster}'")]
        warnings += cluster_warnings(len(np.unique(clusters)))
    return survival_answer(analysis, warnings, {"learner": options["learner"], "periods": len(analysis.curves[0].times)})


def survival_roles(schema: TableSchema, event: str, cause: Label | None = None) -> FrameRoles:
    """Name the columns that a table of times was found to have."""
    return FrameRoles(
        treatment=schema.treatment.name,
        time=schema.outcome.name,
        event=event,
        covariates=tuple(column.name for column in schema.modelled),
        control=schema.control,
        cause=cause,
    )
