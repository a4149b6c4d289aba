"""Entry point of ``waymint estimate``: effects, overlap and balance of any table or published release."""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.special import stdtr

from flows.stages.inputs import Found, find_release
from flows.stages.tables import canonical_rows, check_extras, cluster_hashes, numbers_of, open_table
from flows.stages.wording import as_options, in_options
from tasks.contract.columns import decode
from tasks.contract.errors import SourceError, SpecError
from tasks.contract.nuisance import Float64
from tasks.contract.refs import FileRef
from tasks.contract.registry import resolve
from tasks.contract.results import Estimate
from tasks.contract.rng import UInt64, release_keys
from tasks.contract.roles import ColumnRoles, TableSchema
from tasks.contract.spec import ReadingSpec, RolesSpec
from tasks.estimation.analysis import Analysis, analyse, analyse_table, known_propensity, known_weights, plan_of
from tasks.estimation.cautions import cluster_warnings, has_interval, overlap_warnings
from tasks.estimation.combine import Combined, combine
from tasks.estimation.released import released_table
from tasks.estimation.spill import Spill
from tasks.estimation.spilled import SpilledTable
from tasks.estimation.table import Table
from tasks.nuisance.plan import SOURCE, release_name
from tasks.publish.layout import copy_folder, release_key
from tasks.publish.manifest import Manifest, plain
from tasks.source.dependence import near_functions
from tasks.source.inspection import Inspection
from tasks.source.rows import canonical

#: Rows beyond which a table is worked on out of core.
MEMORY_ROWS = 1_000_000
#: Rows that a learner gets in memory in one fold, out of core.
FIT_ROWS = 100_000
OPTIONS = ("estimators", "seed", "learner", "folds", "repeats", "truncation")
BALANCE_SHOWN = 8
#: What stands in place of an interval that is not given.
_NO_INTERVAL = dict.fromkeys(("se", "ci_low", "ci_high", "p"))
_NO_SPREAD = f"{'none':>10}{'none (separation)':>22}{'none':>11}"


def estimate(data: str, roles: dict[str, Any], options: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Estimate effects on a table, or on a release with the interval that carries the source's sampling error.

    Parameters
    ----------
    data : str
        A file, folder, glob, ``s3://...`` of Parquet or CSV, ``builtin:NAME``, or a release ``STORE/NAME[@VERSION]``.
    roles : dict
        Keys of the SPEC's ``roles``; of a release, what its manifest says where not given.
    options : dict
        ``estimators``, ``seed``, ``folds``, ``repeats``, ``learner``, ``truncation`` of :func:`tasks.estimation.analysis.analyse`;
        ``propensity``: a number, or the name of a column of known propensities; ``weights``: the name of a column of row weights;
        ``memory_rows``: rows beyond which a table is not held in memory; ``fit_rows``: rows a learner then gets in memory in one
        fold (:func:`tasks.estimation.analysis.plan_of`). Of a release, ``truncation``, ``fit_rows`` and the learner's parameters are
        those of its SPEC where not given.

    Returns
    -------
    tuple of dict and list of str
        The ``--json`` reply of interface ``estimate`` and lines for people.
    """
    found = find_release(data, "DATA of estimate")
    if found is not None:
        if options.get("cluster"):
            raise SpecError("--cluster of estimate must be given for a table; got it for a release.", "Leave it out.")
        return _released(found, options)
    try:
        return _of_table(data, roles, options)
    except (SourceError, SpecError) as fault:
        raise in_options(fault) from None


def _released(found: Found, options: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Estimate on every copy of a release and combine."""
    manifest = found.manifest
    if manifest.profile == "augment":
        raise SourceError(
            f"DATA of estimate must be a whole table; got {manifest.name} version {manifest.version}, which holds added rows only.",
            "Append its rows to the table they were made for, and estimate on both together (docs/augment.md).",
        )
    copies = [_copy(found, copy, options) for copy in range(manifest.spec["release"]["copies"])]
    out_of_core = _beyond_memory(found, 0, options)
    reply, lines = _told(copies[0], (), {"learner": options["learner"], "rows": copies[0].rows, "out_of_core": out_of_core})
    combined = [_combined(manifest, estimates) for estimates in zip(*(analysis.estimates for analysis in copies))]
    reply["combined"] = [{"estimand": e.estimand, "estimator": e.estimator, **c._asdict()} for e, c in combined]
    rule = combined[0][1].rule
    lines += [
        "",
        f"valid for the source's population ({len(copies)} {'copy' if len(copies) == 1 else 'copies'}, rule '{rule}'; "
        "the release's own intervals above leave out the source's sampling error):",
        *(f"{e.estimand:<10}{e.estimator:<8}{c.estimate:>11.4g}{c.se:>10.3g}{c.ci_low:>11.4g} to {c.ci_high:<9.4g}" for e, c in combined),
    ]
    return plain(reply), lines


def _copy(found: Found, copy: int, options: dict[str, Any]) -> Analysis:
    """Analyse one copy by the plan that the run had: with the run's settings the manifest's numbers come out again."""
    manifest = found.manifest
    schema = TableSchema.model_validate(manifest.table)
    if _beyond_memory(found, copy, options):
        with tempfile.TemporaryDirectory(prefix="waymint-estimate-") as folder:
            spill = Spill(Path(folder), schema, released=True)
            for part in _parts(found, schema, copy, options):
                spill.add(*part)
            return _analyse_copy(spill.finish(), manifest, copy, options)
    rows, weights, propensity, keys = (list(column) for column in zip(*_parts(found, schema, copy, options)))
    table = released_table(
        schema,
        pa.concat_tables(rows).unify_dictionaries(),
        np.concatenate(keys),
        manifest.spec["roles"]["subgroups"],
        None if weights[0] is None else np.concatenate(weights),
        None if propensity[0] is None else np.concatenate(propensity),
    )
    return _analyse_copy(table, manifest, copy, options)


def _analyse_copy(table: Table | SpilledTable, manifest: Manifest, copy: int, options: dict[str, Any]) -> Analysis:
    mechanisms = manifest.spec["mechanisms"]
    same = options["learner"] == mechanisms["learner"]
    learner = resolve("learner", options["learner"], mechanisms.get("params") if same else None)
    fit_rows = options.get("fit_rows", mechanisms.get("fit_rows"))
    plan = plan_of(table, release_name(copy), options["seed"], options["folds"], options["repeats"], fit_rows)
    truncation = options.get("truncation", mechanisms["truncation"])
    report = say if isinstance(table, SpilledTable) else None
    return analyse_table(table, plan, options["estimators"], learner, truncation, report)


def _files(found: Found, copy: int) -> list[FileRef]:
    """Return the parts of one copy, in order."""
    return sorted((file for file in found.manifest.files if file.path.startswith(copy_folder(copy))), key=lambda file: file.path)


def _beyond_memory(found: Found, copy: int, options: dict[str, Any]) -> bool:
    """Tell whether a copy is worked on out of core; effects of subgroups are estimated in memory."""
    rows = sum(file.rows or 0 for file in _files(found, copy))
    return rows > int(options.get("memory_rows", MEMORY_ROWS)) and not found.manifest.spec["roles"]["subgroups"]


def _parts(
    found: Found, schema: TableSchema, copy: int, options: dict[str, Any]
) -> Iterator[tuple[pa.Table, Float64 | None, Float64 | None, UInt64]]:
    """Read the parts of one copy: canonical rows, their weights and known propensities where asked, and the keys they had in the run."""
    store, manifest = found
    extras = [name for name in (options.get("weights"), options["propensity"]) if isinstance(name, str)]
    names = tuple(column.name for column in schema.covariates)
    for number, file in enumerate(_files(found, copy)):
        part = pq.read_table(pa.BufferReader(store.get(release_key(manifest.name, manifest.version, file.path))))
        check_extras(extras, part.column_names, RolesSpec(treatment=schema.treatment.name, outcome=schema.outcome.name, covariates=names))
        weights = None if options.get("weights") is None else known_weights(numbers_of(part, options["weights"]), part.num_rows)
        given = numbers_of(part, options["propensity"]) if isinstance(options["propensity"], str) else options["propensity"]
        keys = release_keys(manifest.spec["seed"], copy, number, part.num_rows)
        yield canonical(part, schema, "parquet"), weights, known_propensity(given, part.num_rows), keys


def _combined(manifest: Manifest, copies: Sequence[Estimate]) -> tuple[Estimate, Combined]:
    """Combine one estimator over copies with the variance that the manifest gives for the source."""
    first = copies[0]
    source = manifest.effects["source"]["all"]
    same = [each for each in source if (each["estimand"], each["estimator"]) == (first.estimand, first.estimator)]
    variance = same[0]["se"] ** 2 if same else None
    return first, combine(
        [each.estimate for each in copies],
        [each.se**2 for each in copies],
        first.n,
        int(manifest.source["rows"]),
        source_variance=variance,
        proper=len(copies) > 1,
        same_design=manifest.spec["mechanisms"]["treatment"] == "fitted",
        balanced=manifest.spec["release"].get("draws") == "balanced",
    )


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
        outcome_kind=schema.outcome_kind,
        subgroups=tuple(subgroups),
    )


def _of_table(data: str, roles: dict[str, Any], options: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Read a table as a release reads its source (the same types, kinds and errors) and estimate, in memory or out of it."""
    opened = open_table(data, reading_spec(options.get("reading", {})))
    names, form, read = opened.names, opened.form, opened.read
    named = (options.get("weights"), options["propensity"], options.get("cluster"))
    extras = tuple(dict.fromkeys(name for name in named if isinstance(name, str)))
    excluded = tuple(dict.fromkeys((*roles.get("exclude", ()), *(extras if roles.get("covariates", "*") == "*" else ()))))
    asked = role_spec(roles | {"exclude": excluded})
    check_extras(extras, names, asked)
    inspection = Inspection(asked, opened.index_columns)
    wanted = (*inspection.columns(names), *extras)
    limit = int(options.get("memory_rows", MEMORY_ROWS))
    held: list[pa.Table] | None = []
    state, rows = inspection.start(), 0
    for batch in read(wanted):
        state, rows = inspection.visit(state, batch), rows + batch.num_rows
        if rows > limit and not asked.subgroups and not options.get("cluster"):
            held = None
            say(f"inspecting: {rows:,} rows")
        if held is not None:
            held.append(batch)
    found = inspection.finish(state, asked, folds=options["folds"], source_format=form)
    known = [key for key in OPTIONS if key in options]
    chosen = {key: options[key] for key in known}
    warnings = [as_options(text) for text in (*opened.notes, *found.warnings)]
    if held is None:
        streamed = _streamed(read(wanted), found.table, form, options)
        return _told(streamed, warnings, {"learner": options["learner"], "rows": streamed.rows, "out_of_core": True})
    canonicals, beside = zip(*(canonical_rows(batch, found.table, form, options) for batch in held))
    frame = decode(found.table, pa.concat_tables(canonicals).unify_dictionaries()).to_pandas()
    if found.table.outcome.levels:  # two labels: what the estimators see is 0 and 1
        frame[found.table.outcome.name] = np.concatenate([rows.column("y").to_numpy() for rows in canonicals])
    weights, propensity = (None if column[0] is None else np.concatenate(column) for column in zip(*beside))
    cluster = options.get("cluster")
    clusters = None if not cluster else np.concatenate([cluster_hashes(batch, found.table, cluster) for batch in held])
    warnings += near_functions(pa.concat_tables(canonicals).unify_dictionaries(), found.table)
    given = options["propensity"] if propensity is None else propensity
    analysis = analyse(frame, column_roles(found.table, asked.subgroups), **chosen, propensity=given, weights=weights, clusters=clusters)
    count = 0 if clusters is None else len(np.unique(clusters))
    warnings = _without_clusters(warnings, str(cluster), count) if clusters is not None else warnings
    return _told(analysis, warnings, {"learner": options["learner"], "rows": analysis.overlap.n, "out_of_core": False}, count)


def _streamed(batches: Iterator[pa.Table], schema: TableSchema, form: str, options: dict[str, Any]) -> Analysis:
    """Estimate out of core: canonical batches go to a temporary folder, sums and vectors stay."""
    with tempfile.TemporaryDirectory(prefix="waymint-estimate-") as folder:
        spill = Spill(Path(folder), schema)
        for batch in batches:
            rows, (weights, propensity) = canonical_rows(batch, schema, form, options)
            if propensity is None and options["propensity"] is not None:
                propensity = np.full(rows.num_rows, float(options["propensity"]))
            weights = None if weights is None else known_weights(weights, rows.num_rows)
            spill.add(rows, weights, known_propensity(propensity, rows.num_rows))
            say(f"reading: {spill.rows:,} rows of positive weight" if weights is not None else f"reading: {spill.rows:,} rows")
        table, fit_rows = spill.finish(), options.get("fit_rows", FIT_ROWS)
        plan = plan_of(table, SOURCE, options["seed"], options["folds"], options["repeats"], fit_rows)
        return analyse_table(table, plan, options["estimators"], options["learner"], options.get("truncation", "auto"), say)


def say(text: str) -> None:
    """Tell on stderr how far long work has come."""
    sys.stderr.write(f"waymint estimate: {text}\n")


def reading_spec(values: dict[str, Any]) -> ReadingSpec:
    """Validate what the options say of how cells are read."""
    try:
        return ReadingSpec(**values)
    except ValueError as error:
        raise SpecError(f"--missing, --missing-value and --csv of estimate must be valid: {error}.") from None


def _without_clusters(warnings: list[str], column: str, count: int) -> list[str]:
    """Leave out what is said of the cluster column, which is used as such."""
    return [line for line in warnings if not line.startswith(f"column '{column}'")] + list(cluster_warnings(count))


def _told(analysis: Analysis, warnings: Sequence[str], fit: dict[str, Any], clusters: int = 0) -> tuple[dict[str, Any], list[str]]:
    warnings = (*warnings, *overlap_warnings(analysis.estimates, analysis.overlap.bound))
    fit = fit | ({"clusters": clusters} if clusters else {})
    reply = analysis.as_dict() | {"fit": fit, "warnings": list(warnings)}
    head = f"{'estimand':<10}{'method':<8}{'estimate':>11}{'SE':>10}{'95 % interval':>22}{'p':>11}{'n':>9}{'ESS':>9}{'truncated':>11}"
    overlap = analysis.overlap
    worst = sorted(analysis.balance, key=lambda row: -abs(row.before))[:BALANCE_SHOWN]
    lines = [
        *(f"warning   {text}" for text in warnings),
        head,
        *(_line(e, clusters) for e in analysis.estimates),
        "",
        f"fit       {fit['learner']}, on {'all' if fit['rows'] == overlap.n else 'a sample of'} {fit['rows']:,} rows"
        + (", out of core" if fit["out_of_core"] else "")
        + (f"; standard errors over {clusters:,} clusters" if clusters else ""),
        f"overlap   {overlap.outside:.1%} of rows have a propensity outside [{overlap.bound:.3g}, {1 - overlap.bound:.3g}]; "
        f"effective share of controls {overlap.ess0:.0%}, of treated {overlap.ess1:.0%}",
        f"balance   standardised mean differences, the {len(worst)} largest before weighting:",
        *(
            f"          {row.covariate}{'' if row.level is None else f' = {row.level}'}: {row.before:+.3f} -> {row.after:+.3f}"
            for row in worst
        ),
    ]
    estimates = [{**e._asdict(), "p": p_value(e, clusters)} | ({} if has_interval(e) else _NO_INTERVAL) for e in analysis.estimates]
    return plain({**reply, "estimates": estimates}), lines


def _line(e: Estimate, clusters: int) -> str:
    spread = f"{e.se:>10.3g}{f'{e.ci_low:.4g} to {e.ci_high:.4g}':>22}{p_value(e, clusters):>11.3g}" if has_interval(e) else _NO_SPREAD
    return f"{e.estimand:<10}{e.estimator:<8}{e.estimate:>11.4g}{spread}{e.n:>9,}{e.ess:>9,.0f}{e.clipped:>11.1%}"


def p_value(result: Estimate, clusters: int = 0) -> float:
    """Return the two-sided p-value of no effect: normal, or of t where standard errors are over so many clusters."""
    if clusters and result.se > 0:
        return 2.0 * float(stdtr(clusters - 1, -abs(result.estimate / result.se)))
    return math.erfc(abs(result.estimate / result.se) / math.sqrt(2)) if result.se > 0 else math.nan
