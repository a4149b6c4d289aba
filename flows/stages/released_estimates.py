"""Estimates on a published release: every copy by the plan that its run had, combined over copies."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from flows.stages.inputs import PublishedRelease
from flows.stages.tables import check_extras, numbers_of
from infra.settings import Verbosity, verbosity
from tasks.contract.errors import SourceError
from tasks.contract.nuisance import Float64
from tasks.contract.refs import FileRef
from tasks.contract.registry import resolve
from tasks.contract.results import Estimate
from tasks.contract.rng import UInt64, part_name, release_keys
from tasks.contract.roles import TableSchema
from tasks.contract.spec import RolesSpec
from tasks.estimation.analysis import Analysis, analyse_table, plan_of
from tasks.estimation.answer import answer, compared
from tasks.estimation.combine import Combined, combine, joint_limits
from tasks.estimation.released import released_table
from tasks.estimation.row_values import known_propensity, known_weights
from tasks.estimation.spill import Spill
from tasks.estimation.spilled import SpilledTable
from tasks.estimation.table import Table
from tasks.nuisance.plan import release_name
from tasks.publish.layout import copy_folder
from tasks.publish.manifest import Manifest, odd_values, plain
from tasks.publish.releases import sound_table
from tasks.source.rows import canonical

#: Rows beyond which a table is worked on out of core.
MEMORY_ROWS = 1_000_000


def say(text: str) -> None:
    """Write to stderr how far long work is, unless the user wants quiet."""
    if verbosity() is not Verbosity.QUIET:
        sys.stderr.write(f"waymint estimate: {text}\n")


def say_rows(work: str, rows: int, began: float, what: str = "rows") -> None:
    """Say how many rows some work has seen, and how fast.

    Parameters
    ----------
    work : str
        What is done with them.
    rows : int
    began : float
        ``time.monotonic()`` when it began.
    what : str
        What is counted.
    """
    say(f"{work}: {rows:,} {what}, {rows / max(time.monotonic() - began, 1e-3):,.0f} rows/s")


def estimate_release(release: PublishedRelease, options: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Estimate on every copy of a release and combine."""
    manifest = release.manifest
    if manifest.profile == "augment":
        raise SourceError(
            f"DATA of estimate must be a whole table; got {manifest.name} version {manifest.version}, which holds added rows only.",
            "Append its rows to the table they were made for, and estimate on both together (docs/augment.md).",
        )
    with odd_values(f"{manifest.name} version {manifest.version}"):
        _check_keys(manifest)
    schema = TableSchema.model_validate(manifest.table)
    views = [schema.of_outcome(number) for number in range(len(schema.outcomes))]
    answers = [_of_outcome(release, view, view.outcome.name if len(views) > 1 else None, options) for view in views]
    reply, lines = answers[0]
    for further, text in answers[1:]:
        for name in ("estimates", "combined"):
            reply[name] += further[name]
        reply["warnings"] += [warning for warning in further["warnings"] if warning not in reply["warnings"]]
        lines += ["", *text]
    return plain(reply), lines


def _of_outcome(
    release: PublishedRelease, schema: TableSchema, name: str | None, options: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Estimate one outcome; ``name`` is its column where there are several."""
    manifest = release.manifest
    copies = [_copy(release, schema, name, copy, options) for copy in range(manifest.spec["release"]["copies"])]
    out_of_core = _beyond_memory(release, 0, options)
    reply, lines = answer(copies[0], (), {"learner": options["learner"], "rows": copies[0].rows, "out_of_core": out_of_core})
    combined = [_combined(manifest, estimates) for estimates in zip(*(analysis.estimates for analysis in copies))]
    reply["combined"] = [{**_named(e), **c._asdict(), **joint_limits(e, c.estimate, c.se)} for e, c in combined]
    rule = combined[0][1].rule
    lines += [
        "",
        f"valid for the source's population ({len(copies)} {'copy' if len(copies) == 1 else 'copies'}, rule '{rule}'; "
        "the release's own intervals above leave out the source's sampling error):",
        *(
            f"{e.estimand:<10}{compared(e)}{e.estimator:<8}{c.estimate:>11.4g}{c.se:>10.3g}{c.ci_low:>11.4g} to {c.ci_high:<9.4g}"
            for e, c in combined
        ),
    ]
    return reply, lines if name is None else [f"outcome   {name}", *lines]


def _check_keys(manifest: Manifest) -> None:
    """Raise where a manifest lacks what the analysis reads of it, or has something else there."""
    spec = manifest.spec
    TableSchema.model_validate(manifest.table)
    if not (range(spec["release"]["copies"]) and isinstance(spec["seed"], int) and isinstance(spec["roles"]["subgroups"], list)):
        raise ValueError(manifest.name)
    if spec["mechanisms"]["truncation"] != "auto":
        float(spec["mechanisms"]["truncation"])
    resolve("learner", spec["mechanisms"]["learner"], spec["mechanisms"].get("params"))


def _copy(release: PublishedRelease, schema: TableSchema, name: str | None, copy: int, options: dict[str, Any]) -> Analysis:
    """Analyse one copy, its estimates named by the outcome where there are several."""
    analysis = _analyse(release, schema, copy, options)
    return analysis._replace(estimates=[each._replace(outcome=name) for each in analysis.estimates])


def _analyse(release: PublishedRelease, schema: TableSchema, copy: int, options: dict[str, Any]) -> Analysis:
    """Analyse one copy by the plan that the run had: with the run's settings the manifest's numbers come out again."""
    manifest = release.manifest
    if _beyond_memory(release, copy, options):
        with tempfile.TemporaryDirectory(prefix="waymint-estimate-") as folder:
            spill = Spill(Path(folder), schema, released=True)
            for part in released_parts(release, schema, copy, options):
                spill.add(*part)
            return _analyse_copy(spill.finish(), manifest, copy, options)
    rows, weights, propensity, keys = (list(column) for column in zip(*released_parts(release, schema, copy, options)))
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


def _files(release: PublishedRelease, copy: int) -> list[FileRef]:
    """Return the parts of one copy, in order."""
    return sorted((file for file in release.manifest.files if file.path.startswith(copy_folder(copy))), key=lambda file: file.path)


def _beyond_memory(release: PublishedRelease, copy: int, options: dict[str, Any]) -> bool:
    """Return whether a copy is worked on out of core; effects of subgroups, clusters and strata are worked on in memory."""
    rows = sum(file.rows or 0 for file in _files(release, copy))
    roles = release.manifest.spec["roles"]
    # several outcomes have a name for each in "y"'s place, and missing cells a further arm: both are worked on in memory
    whole = (
        roles["subgroups"] or roles.get("cluster") or roles.get("strata") or roles.get("outcomes") or roles.get("missing_outcome") == "ipcw"
    )
    return rows > int(options.get("memory_rows", MEMORY_ROWS)) and not whole


def released_parts(
    release: PublishedRelease, schema: TableSchema, copy: int, options: dict[str, Any]
) -> Iterator[tuple[pa.Table, Float64 | None, Float64 | None, UInt64]]:
    """Read the parts of one copy: canonical rows, their weights and known propensities where asked, and the keys they had in the run."""
    store, manifest = release
    extras = [name for name in (options.get("weights"), options["propensity"]) if isinstance(name, str)]
    names = tuple(column.name for column in schema.covariates)
    for number, file in enumerate(_files(release, copy)):
        part = sound_table(store, manifest.name, manifest.version, file)
        check_extras(extras, part.column_names, RolesSpec(treatment=schema.treatment.name, outcome=schema.outcome.name, covariates=names))
        weights = None if options.get("weights") is None else known_weights(numbers_of(part, options["weights"]), part.num_rows)
        given = numbers_of(part, options["propensity"]) if isinstance(options["propensity"], str) else options["propensity"]
        name = part_name(number, int(manifest.spec["release"].get("stream", 0)))
        keys = release_keys(manifest.spec["seed"], copy, name, part.num_rows)
        yield canonical(part, schema, "parquet"), weights, known_propensity(given, part.num_rows), keys


def _named(one: Estimate) -> dict[str, str]:
    """Return what an estimate is of: estimand and estimator, and where there are more than two the arms."""
    arms = {"arm": one.arm, "control": one.control, "outcome": one.outcome}
    return {"estimand": one.estimand, "estimator": one.estimator, **{name: label for name, label in arms.items() if label is not None}}


def _combined(manifest: Manifest, copies: Sequence[Estimate]) -> tuple[Estimate, Combined]:
    """Combine one estimator over copies with the variance that the manifest gives for the source."""
    first = copies[0]
    source = manifest.effects["source"]["all"]
    same = [each for each in source if all(each.get(name) == value for name, value in _named(first).items())]
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
