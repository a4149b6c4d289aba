"""Entry point of ``waymint estimate``: effects, overlap and balance of any table or published release."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from flows.stages.inputs import find_release
from flows.stages.released_estimates import MEMORY_ROWS, estimate_release, say, say_rows
from flows.stages.released_times import estimate_released_times, holds_times
from flows.stages.survival import estimate_times
from flows.stages.tables import canonical_rows, check_extras, cluster_hashes, open_table, strata_of
from flows.stages.wording import as_options, in_options
from tasks.contract.columns import decode
from tasks.contract.errors import SourceError, SpecError
from tasks.contract.roles import ColumnRoles, TableSchema
from tasks.contract.spec import ReadingSpec, RolesSpec
from tasks.estimation.analysis import Analysis, analyse, analyse_table, plan_of
from tasks.estimation.answer import Sides, answer
from tasks.estimation.cautions import cluster_warnings, missing_warnings
from tasks.estimation.row_values import known_propensity, known_weights
from tasks.estimation.spill import Spill
from tasks.nuisance.plan import SOURCE
from tasks.publish.manifest import plain
from tasks.source.dependence import near_functions
from tasks.source.inspection import Inspection
from tasks.targeting.estimators import ATE

#: Rows that a learner gets in memory in one fold, out of core.
FIT_ROWS = 100_000
OPTIONS = ("estimators", "seed", "learner", "folds", "repeats", "truncation")


def estimate(data: str, roles: dict[str, Any], options: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Estimate effects on a table, or on a release with the interval that carries the source's sampling error.

    Parameters
    ----------
    data : str
        A file, folder, glob, ``s3://...`` of Parquet or CSV, ``builtin:NAME``, or a release ``STORE/NAME[@VERSION]``.
    roles : dict
        Keys of the SPEC's ``roles``; of a release, what its manifest says where not given. ``outcomes`` in place of ``outcome``: each
        is estimated by itself, the others being no covariates.
    options : dict
        ``estimators`` (those of the outcome's kind where empty), ``seed``, ``folds``, ``repeats``, ``learner``, ``truncation`` of
        :func:`tasks.estimation.analysis.analyse`;
        ``propensity``: a number, or the name of a column of known propensities; ``weights``: the name of a column of row weights;
        ``memory_rows``: rows beyond which a table is not held in memory; ``fit_rows``: rows a learner then gets in memory in one
        fold (:func:`tasks.estimation.analysis.plan_of`). Of a release, ``truncation``, ``fit_rows`` and the learner's parameters are
        those of its SPEC where not given.

    Returns
    -------
    tuple of dict and list of str
        The ``--json`` reply of interface ``estimate`` and lines for people.
    """
    kind = roles.get("outcome_kind", "auto")
    release = find_release(data, "DATA of estimate")
    curves = kind == "survival" if release is None else holds_times(release)
    if options.get("cause") is not None and not curves:
        raise SpecError("--cause of estimate must be left out of an outcome that is no time to event.", "Add --outcome-kind survival.")
    options = options | {"estimators": options.get("estimators") or (None if curves else ATE)}
    if release is not None:
        if options.get("cluster"):
            raise SpecError("--cluster of estimate must be given for a table; got it for a release.", "Leave it out.")
        return estimate_released_times(release, options) if curves else estimate_release(release, options)
    try:
        return _of_outcomes(data, roles, options)
    except (SourceError, SpecError) as fault:
        raise in_options(fault) from None


def _of_outcomes(data: str, roles: dict[str, Any], options: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Estimate one outcome, or one after the other: overlap and balance are those of the first, entries name their outcome."""
    outcomes: tuple[str, ...] = tuple(roles.pop("outcomes", ()))
    if len(outcomes) < 2:
        return _of_outcome(data, roles | ({"outcome": outcomes[0]} if outcomes else {}), options)
    if len(set(outcomes)) < len(outcomes):
        raise SpecError("--outcome of estimate must name different columns; got one twice.", "Name each once.")
    reply: dict[str, Any] = {}
    lines: list[str] = []
    for outcome in outcomes:
        others = tuple(name for name in outcomes if name != outcome)
        rest = roles | {"outcome": outcome}
        if roles.get("covariates", "*") == "*":
            rest["exclude"] = tuple(dict.fromkeys((*roles.get("exclude", ()), *others)))
        elif set(outcomes) & set(roles["covariates"]):
            raise SpecError("covariates of roles must not name an outcome; got one that does.", "Leave it out of --covariates.")
        one, text_of = _of_outcome(data, rest, options)
        entries = [entry | {"outcome": outcome} for entry in one["estimates"]]
        warnings = [f"outcome '{outcome}': {text}" for text in one["warnings"]]
        reply = reply or one | {"estimates": [], "warnings": []}
        reply["estimates"] += entries
        reply["warnings"] += [text for text in warnings if text not in reply["warnings"]]
        lines += ["", f"outcome   {outcome}", *text_of] if lines else [f"outcome   {outcome}", *text_of]
    return reply, lines


def _of_outcome(data: str, roles: dict[str, Any], options: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    return _of_times(data, roles, options) if roles.get("outcome_kind") == "survival" else _of_table(data, roles, options)


def role_spec(roles: dict[str, Any]) -> RolesSpec:
    """Validate the roles given on the command line."""
    for name in ("treatment", "outcome"):
        if not roles.get(name):
            raise SpecError(f"--{name} must name a column; got nothing.", "Only a published release knows its own roles.")
    try:
        return RolesSpec(**roles)
    except ValueError as error:
        raise SpecError(f"roles of estimate must be valid: {error}.") from None


def column_roles(schema: TableSchema, subgroups: Sequence[str] = ()) -> ColumnRoles:
    """Name the columns that the source was found to have."""
    return ColumnRoles(
        treatment=schema.treatment.name,
        outcome=schema.outcome.name,
        covariates=tuple(column.name for column in schema.covariates),
        treated=schema.treated,
        control=schema.control if len(schema.arms) > 2 else None,
        outcome_kind=schema.outcome_kind,
        missing_outcome="ipcw" if schema.outcome.missing else "error",
        subgroups=tuple(subgroups),
    )


def _of_times(data: str, roles: dict[str, Any], options: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Estimate a time to event: the event names a column there, not a label."""
    event = roles.get("event")
    table_roles = role_spec(roles | {"event": None})
    reply, lines = estimate_times(data, table_roles, event, reading_spec(options.get("reading", {})), options)
    return plain(reply), lines


def _of_table(data: str, roles: dict[str, Any], options: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Read a table as a release reads its source (the same types, kinds and errors) and estimate, in memory or out of it."""
    opened = open_table(data, reading_spec(options.get("reading", {})))
    names, form, read = opened.names, opened.form, opened.read
    named = (options.get("weights"), options["propensity"], options.get("cluster"))
    extras = tuple(dict.fromkeys(name for name in named if isinstance(name, str)))
    excluded = tuple(dict.fromkeys((*roles.get("exclude", ()), *(extras if roles.get("covariates", "*") == "*" else ()))))
    table_roles = role_spec(roles | {"exclude": excluded})
    check_extras(extras, names, table_roles)
    inspection = Inspection(table_roles, opened.index_columns)
    wanted = (*inspection.columns(names), *extras)
    limit = int(options.get("memory_rows", MEMORY_ROWS))
    held: list[pa.Table] | None = []
    state, rows, began = inspection.start(), 0, time.monotonic()
    for batch in read(wanted):
        state, rows = inspection.visit(state, batch), rows + batch.num_rows
        if rows > limit and not _needs_memory(table_roles, options):
            held = None
            say_rows("inspecting", rows, began)
        if held is not None:
            held.append(batch)
    described = inspection.finish(state, table_roles, folds=options["folds"], source_format=form)
    names_given = [key for key in OPTIONS if key in options]
    chosen = {key: options[key] for key in names_given}
    warnings = [as_options(text) for text in (*opened.notes, *described.warnings)]
    if held is None:
        streamed = _streamed(read(wanted), described.table, form, options)
        return _answer(described.table, streamed, warnings, {"learner": options["learner"], "rows": streamed.rows, "out_of_core": True})
    canonicals, beside = zip(*(canonical_rows(batch, described.table, form, options) for batch in held))
    frame = decode(described.table, pa.concat_tables(canonicals).unify_dictionaries()).to_pandas()
    if described.table.outcome.levels:  # two labels: what the estimators see is 0 and 1
        frame[described.table.outcome.name] = np.concatenate([rows.column("y").to_numpy() for rows in canonicals])
    weights, propensity = (None if column[0] is None else np.concatenate(column) for column in zip(*beside))
    cluster = options.get("cluster")
    clusters = None if not cluster else np.concatenate([cluster_hashes(batch, described.table, cluster) for batch in held])
    warnings += missing_warnings(described.table.outcome.missing, frame.shape[0])
    warnings += near_functions(pa.concat_tables(canonicals).unify_dictionaries(), described.table)
    given = options["propensity"] if propensity is None else propensity
    columns = column_roles(described.table, table_roles.subgroups)
    strata = strata_of(frame, canonicals, described.table)
    analysis = analyse(frame, columns, **chosen, propensity=given, weights=weights, clusters=clusters, strata=strata)
    count = 0 if clusters is None else len(np.unique(clusters))
    warnings = _without_clusters(warnings, str(cluster), count) if clusters is not None else warnings
    fit = {"learner": options["learner"], "rows": analysis.overlap.n, "out_of_core": False}
    return _answer(described.table, analysis, warnings, fit, count)


def _needs_memory(roles: RolesSpec, options: dict[str, Any]) -> bool:
    """Return whether an analysis can't be done out of core."""
    return bool(roles.subgroups or roles.strata or options.get("cluster") or roles.missing_outcome == "ipcw")


def _streamed(batches: Iterator[pa.Table], schema: TableSchema, form: str, options: dict[str, Any]) -> Analysis:
    """Estimate out of core: canonical batches go to a temporary folder, sums and vectors stay."""
    with tempfile.TemporaryDirectory(prefix="waymint-estimate-") as folder:
        spill, began = Spill(Path(folder), schema), time.monotonic()
        for batch in batches:
            rows, (weights, propensity) = canonical_rows(batch, schema, form, options)
            if propensity is None and options["propensity"] is not None:
                propensity = np.full(rows.num_rows, float(options["propensity"]))
            weights = None if weights is None else known_weights(weights, rows.num_rows)
            spill.add(rows, weights, known_propensity(propensity, rows.num_rows))
            say_rows("reading", spill.rows, began, "rows" if weights is None else "rows of positive weight")
        table, fit_rows = spill.finish(), options.get("fit_rows", FIT_ROWS)
        plan = plan_of(table, SOURCE, options["seed"], options["folds"], options["repeats"], fit_rows)
        return analyse_table(table, plan, options["estimators"], options["learner"], options.get("truncation", "auto"), say)


def reading_spec(values: dict[str, Any]) -> ReadingSpec:
    """Validate what the options say of how cells are read."""
    try:
        return ReadingSpec(**values)
    except ValueError as error:
        raise SpecError(f"--missing, --missing-value and --csv of estimate must be valid: {error}.") from None


def _without_clusters(warnings: list[str], column: str, count: int) -> list[str]:
    """Leave out what is said of the cluster column, which is used as such."""
    return [line for line in warnings if not line.startswith(f"column '{column}'")] + list(cluster_warnings(count))


def _answer(
    schema: TableSchema, analysis: Analysis, warnings: Sequence[str], fit: dict[str, Any], clusters: int = 0
) -> tuple[dict[str, Any], list[str]]:
    sides = Sides(schema.treatment.name, schema.arms[1], schema.arms[0]) if len(schema.arms) == 2 else None
    reply, lines = answer(analysis, warnings, fit, clusters, sides)
    return plain(reply), lines
