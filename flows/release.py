"""The release flow: a real table in, a versioned, gated synthetic release out, or nothing."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from prefect import flow

import tasks.checks.task as checks
import tasks.covariates.task as covariates
import tasks.estimation.task as estimation
import tasks.publish.task as publishing
import tasks.report.task as reporting
from flows.releases import summary
from flows.stages.condition import check_where, narrow, refer, unconditional
from flows.stages.copies import check_models, draw_copy, fit_models, resolve_synthesizer
from flows.stages.endings import Ending, cost_line, ending, unchanged_line
from flows.stages.kept_models import seal_models
from flows.stages.measures import measure
from flows.stages.precheck import check_sizes
from flows.stages.publications import keep_rejected, latest_repeated, publish_release
from flows.stages.redraws import check_models as check_same_models
from flows.stages.runs import carry_out
from flows.stages.source import read_plan, read_source
from flows.stages.streams import Original, check_source
from flows.stages.study_record import study_section
from flows.stages.verdicts import judge_release
from infra.stages import Stages
from infra.workspace import Run
from tasks.checks.rejection import rejection
from tasks.contract.refs import PartitionRef
from tasks.contract.spec import Spec
from tasks.mechanisms.task import Copy
from tasks.publish.layout import part_path
from tasks.publish.manifest import Manifest
from tasks.publish.record import Facts, Verdict
from tasks.source.profile import profile_line
from tasks.source.task import Source

# Stages of reading, of a cross-fitting, of drawing one copy (beside cross-fitting and calibration), of judging and publishing.
READING, FITTING, DRAWING, CONCLUDING = 4, 2, 3, 4


@flow(name="release", flow_run_name="release {spec.name}", log_prints=False)
def release(spec: Spec) -> Ending:
    """Mint one release.

    Parameters
    ----------
    spec : Spec
        What to release; see docs or ``waymint schema``.

    Returns
    -------
    dict
        ``{"status": "published", "uri", "version", "manifest"}``; status "unchanged" where ``release.unchanged`` says to skip a version
        that is there already.

    Raises
    ------
    GateFailed
        If a gate failed; its ``reply`` is the ``"rejected"`` reply. Nothing was published.
    WaymintError
        SpecError, SourceError, EstimationError, StoreError: see docs/errors.md.
    """
    return ending(carry_out(spec, "release", mint, check=early_checks), rejection)


def early_checks(run: Run) -> None:
    """Tell what is wrong with names, parameters and store before any work is done."""
    check_models(run)
    publishing.check_store(run)


@flow(name="mint", flow_run_name="mint {run.spec.name}", validate_parameters=False)
def mint(run: Run, original: Original | None = None) -> Ending:
    """Do the work of one release on the run's task runner; returns the reply. ``original`` is the release that gets further rows."""
    return ending(_reply(run, Stages.current(), original), rejection)


def _reply(run: Run, stages: Stages, original: Original | None) -> dict[str, Any]:
    """Read the source, fit, draw, judge and publish; return the reply: published, rejected or unchanged."""
    stages.count(_stage_count(run.spec), f"Release {run.spec.name}, run {run.id}")
    plan = read_plan(run, stages)
    if original is not None:
        check_source(original, plan.fingerprint)
    latest = latest_repeated(run, "release", plan.fingerprint)
    if latest is not None and latest.same_code:
        return latest.reply()
    source = read_source(run, stages, plan=plan)
    schema = source.described.table
    cautions = check_sizes(run.spec, schema.units, source.described.profile.arms, "release")
    check_where(run, schema)
    run = resolve_synthesizer(run, schema)
    stages.note(profile_line(source.described.profile, schema))
    for warning in (*source.described.warnings, *cautions):
        stages.warn(warning)
    publishing.check_name(run, schema)
    publishing.check_added_columns(run, schema)
    # Great Expectations takes 10 s to import: meanwhile the workers fit
    threading.Thread(target=checks.load_judge, daemon=True).start()
    source, copies = _copies(run, stages, source, original)
    parts = paths_of(copies)
    if latest is not None and latest.has(parts):
        return latest.reply()
    return conclude(run, stages, source, copies, parts, original)


def _copies(run: Run, stages: Stages, source: Source, original: Original | None) -> tuple[Source, list[Copy]]:
    """Fit models to the whole source and draw from them; also return the part of the source that rows are judged by."""
    schema, whole = source.described.table, unconditional(run)
    fits = [fit_models(whole, stages, schema, source.parts, copy) for copy in range(run.spec.release.copies)]
    if original is not None:
        check_same_models(run, stages, schema, [fit.models for fit in fits], original)
    seal_models(run, stages, fits)
    if run.spec.release.where:
        source = narrow(run, stages, source)
        fits = [refer(run, stages, source, fit.models, fit.targeting, copy) for copy, fit in enumerate(fits)]
    return source, [draw_copy(run, stages, schema, fit, copy) for copy, fit in enumerate(fits)]


def paths_of(copies: Sequence[Copy]) -> dict[str, PartitionRef]:
    """Return the drawn parts by their path in the release."""
    return {part_path(number, part.released.part): part.released for number, copy in enumerate(copies) for part in copy.drawn}


def _stage_count(spec: Spec) -> int:
    """Return how many stages a release has."""
    copies, hybrid = spec.release.copies, spec.release.mode == "hybrid"
    fittings = 2 * copies + (copies > 1)  # of each copy's source and release, and of the source itself where copies are weighted
    further = spec.release.keep_models + bool(spec.release.where) * (1 + copies * (1 + FITTING + hybrid))
    return READING + FITTING * fittings + copies * (DRAWING + hybrid) + CONCLUDING + further


def conclude(
    run: Run,
    stages: Stages,
    source: Source,
    copies: Sequence[Copy],
    parts: Mapping[str, PartitionRef],
    original: Original | None,
    origin: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Judge, then publish the release or keep the reasons why not.

    Parameters
    ----------
    run, stages : Run, Stages
        The run and its progress.
    source : Source
        What the release is judged by.
    copies : sequence of Copy
        What was drawn.
    parts : mapping
        Path in the release to the drawn part in the workspace.
    original : Original or None
        The release that gets further rows.
    origin : mapping, optional
        What the manifest's ``source`` says besides.
    """
    schema = source.described.table
    canonical = [part.canonical for copy in copies for part in copy.drawn]
    counting = [stages.submit(reporting.marginals, run, schema, *of) for of in ((source.parts, "source"), (canonical, "release"))]
    measured, effects = measure(run, stages, source, copies)
    marginals = stages.wait("count marginals", counting)
    verdict = judge_release(run, stages, source, canonical, measured)
    judged, rejected = verdict.judgement, verdict.rejected
    for caution in verdict.cautions:
        stages.warn(caution)
    combined = estimation.combined(run, measured.source, effects)
    judged_gates = Verdict(tuple(judged.gates), verdict.holdout, verdict.cautions)
    facts = publishing.facts(run, source, measured, effects, combined, judged_gates, covariates.kept(run))
    if original is not None:
        facts = _extended(facts, original, origin or {})
    if study := study_section(run, schema, copies):
        facts = facts.model_copy(update={"source": {**facts.source, "study": study}})
    pictures = reporting.pictures(run, schema, measured, marginals) | {"training": covariates.curve(run), "layers": covariates.card(run)}
    facts = facts.model_copy(update={"metrics": stages.metrics(sum(part.rows for part in parts.values()))})
    table = [gate.model_dump() for gate in judged.gates]
    stages.table("gates", table, f"Gates of release {run.spec.name}, run {run.id}")
    page = functools.partial(reporting.report, pictures=pictures, status="rejected" if rejected else "published")
    if rejected:
        return keep_rejected(run, stages, facts, judged.files, page)
    return publish_release(run, stages, schema, parts, facts, judged.files, page)


def _extended(facts: Facts, original: Original, origin: Mapping[str, Any]) -> Facts:
    """Return the manifest's values of further rows: which release they extend, and how its models were fitted."""
    fitted = original.spec.model_dump(mode="json")
    spec = {**facts.spec, "mechanisms": fitted["mechanisms"], "source": {**facts.spec["source"], "holdout": fitted["source"]["holdout"]}}
    return facts.model_copy(update={"parents": (original.parent,), "source": {**facts.source, **origin}, "spec": spec})


def describe(reply: dict[str, Any]) -> list[str]:
    """Return the lines a user reads at the end of a run that was not rejected."""
    uri = reply["uri"]
    return [
        *unchanged_line(reply),
        *summary(Manifest.model_validate(reply["manifest"])),
        *cost_line(reply),
        "",
        f"release   {uri}",
        f"report    {uri}/report.html",
        f"verify    waymint releases verify {uri}",
    ]
