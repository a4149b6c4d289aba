"""Entry point of ``waymint estimate``: effects, overlap and balance of any table or published release."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from infra.store import filesystem, open_store, split_release_uri
from tasks.contract.columns import decode
from tasks.contract.errors import SpecError, StoreMissing
from tasks.contract.results import Estimate
from tasks.contract.roles import ColumnRoles, TableSchema
from tasks.contract.spec import RolesSpec
from tasks.estimation.analysis import Analysis, analyse
from tasks.estimation.balance import Balance
from tasks.estimation.combine import Combined, combine
from tasks.publish.layout import part_path
from tasks.publish.manifest import Manifest, plain
from tasks.publish.releases import show
from tasks.source.builtin import BUILTIN, load_builtin
from tasks.source.inspection import Inspection
from tasks.source.plan import plan_source
from tasks.source.read import read_batches
from tasks.source.rows import canonical

BATCH_ROWS = 250_000
BALANCE_SHOWN = 8
TABLE_ENDINGS = (".csv", ".csv.gz", ".parquet", ".pq")


def estimate(data: str, roles: dict[str, Any], options: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Estimate effects on a table, or on a release with the interval that carries the source's sampling error.

    Parameters
    ----------
    data : str
        A file, folder, glob, ``s3://...`` of Parquet or CSV, ``builtin:NAME``, or a release ``STORE/NAME[@VERSION]``.
    roles : dict
        Keys of the SPEC's ``roles``; of a release, what its manifest says where not given.
    options : dict
        ``estimators``, ``seed``, ``folds``, ``repeats``, ``learner``, ``truncation``, ``propensity`` of
        :func:`tasks.estimation.analysis.analyse`.

    Returns
    -------
    tuple of dict and list of str
        The ``--json`` reply of interface ``estimate`` and lines for people.
    """
    manifest = find_release(data)
    if manifest is None:
        frame, schema, warnings = read_table(data, role_spec(roles), options["folds"])
        return _told(analyse(frame, column_roles(schema, roles), **options), [f"warning   {text}" for text in warnings])
    return _released(data, manifest, options)


def _released(data: str, manifest: Manifest, options: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Estimate on every copy of a release and combine."""
    store, name, _ = split_release_uri(data)
    schema = TableSchema.model_validate(manifest.table)
    spec = manifest.spec
    asked = {key: spec["roles"][key] for key in ("treatment", "treated", "outcome", "subgroups")} | {"outcome_kind": schema.outcome_kind}
    known = ColumnRoles(covariates=tuple(column.name for column in schema.covariates), **{**asked, "subgroups": tuple(asked["subgroups"])})
    copies = []
    for copy in range(spec["release"]["copies"]):
        folder = part_path(copy, 0).rpartition("/")[0] + "/"
        parts = [file.path for file in manifest.files if file.path.startswith(folder)]
        tables = [pq.read_table(pa.BufferReader(open_store(store).get(f"{name}/v{manifest.version:06d}/{path}"))) for path in parts]
        copies.append(analyse(pa.concat_tables(tables).to_pandas(), known, **options))
    reply, lines = _told(copies[0], [])
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
    )


def find_release(data: str) -> Manifest | None:
    """Return the manifest of what the text names, None where it names no release."""
    if data.startswith(BUILTIN) or data.lower().endswith(TABLE_ENDINGS):
        return None
    try:
        store, name, version = split_release_uri(data)
        return show(open_store(store), name, version)
    except (SpecError, StoreMissing):
        return None


def role_spec(roles: dict[str, Any]) -> RolesSpec:
    """Validate the roles given on the command line."""
    for name in ("treatment", "outcome"):
        if not roles.get(name):
            raise SpecError(f"--{name} must name a column; got nothing.", "Only a published release knows its own roles.")
    try:
        return RolesSpec(**roles)
    except ValueError as error:
        raise SpecError(f"roles of estimate must be valid: {error}.") from None


def column_roles(schema: TableSchema, roles: dict[str, Any]) -> ColumnRoles:
    """Name the columns that the source was found to have."""
    return ColumnRoles(
        treatment=schema.treatment.name,
        outcome=schema.outcome.name,
        covariates=tuple(column.name for column in schema.covariates),
        treated=roles.get("treated", 1),
        outcome_kind=schema.outcome_kind,
        subgroups=tuple(roles.get("subgroups", ())),
    )


def read_table(data: str, roles: RolesSpec, folds: int) -> tuple[pd.DataFrame, TableSchema, tuple[str, ...]]:
    """Read a table as a release reads its source: the same types, kinds and errors. It is held in memory whole."""
    inspection = Inspection(roles)
    if data.startswith(BUILTIN):
        batches, form = [load_builtin(data.removeprefix(BUILTIN))], "parquet"
        batches = [batches[0].select(inspection.columns(batches[0].column_names))]
    else:
        fs, path = filesystem(data)
        plan = plan_source(fs, path, data, BATCH_ROWS)
        wanted, form = inspection.columns(plan.names), plan.format
        batches = [batch for fragment in plan.fragments for batch in read_batches(fs, plan, fragment, wanted)]
    state = inspection.start()
    for batch in batches:
        state = inspection.visit(state, batch)
    found = inspection.finish(state, roles, folds=folds, source_format=form)
    whole = pa.concat_tables([canonical(batch, found.table, form) for batch in batches]).unify_dictionaries()
    return decode(found.table, whole).to_pandas(), found.table, tuple(found.warnings)


def _told(analysis: Analysis, warnings: list[str]) -> tuple[dict[str, Any], list[str]]:
    reply = analysis.as_dict()
    head = f"{'estimand':<10}{'method':<8}{'estimate':>11}{'SE':>10}{'95 % interval':>22}{'p':>11}{'n':>9}{'ESS':>9}{'truncated':>11}"
    overlap = analysis.overlap
    worst = sorted(analysis.balance, key=lambda row: -abs(row.before))[:BALANCE_SHOWN]
    lines = [
        *warnings,
        head,
        *(
            f"{e.estimand:<10}{e.estimator:<8}{e.estimate:>11.4g}{e.se:>10.3g}{f'{e.ci_low:.4g} to {e.ci_high:.4g}':>22}"
            f"{p_value(e):>11.3g}{e.n:>9,}{e.ess:>9,.0f}{e.clipped:>11.1%}"
            for e in analysis.estimates
        ),
        "",
        f"overlap   {overlap.outside:.1%} of rows have a propensity outside [{overlap.bound:.3g}, {1 - overlap.bound:.3g}]; "
        f"effective share of controls {overlap.ess0:.0%}, of treated {overlap.ess1:.0%}",
        f"balance   standardised mean differences, the {len(worst)} largest before weighting:",
        *(
            f"          {row.covariate}{'' if row.level is None else f' = {row.level}'}: {row.before:+.3f} -> {row.after:+.3f}"
            for row in worst
        ),
    ]
    estimates = [{**e._asdict(), "p": p_value(e)} for e in analysis.estimates]
    return plain({**reply, "estimates": estimates}), lines


def _named(row: Balance) -> str:
    return row.covariate if row.level is None else f"{row.covariate} = {row.level}"


def p_value(result: Estimate) -> float:
    """Return the two-sided normal p-value of no effect."""
    return math.erfc(abs(result.estimate / result.se) / math.sqrt(2)) if result.se > 0 else math.nan
