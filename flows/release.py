"""The release flow: a real table in, a versioned, gated synthetic release out, or nothing."""

from __future__ import annotations

import functools
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from prefect import flow
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact

import tasks.checks.task as checks
import tasks.covariates.task as covariates
import tasks.distance.task as distance
import tasks.estimation.task as estimation
import tasks.mechanisms.task as mechanisms
import tasks.publish.task as publishing
import tasks.report.task as reporting
import tasks.source.task as source
from flows.releases import summary
from infra.cluster import gather, outlasting
from infra.logging import Stages, shown
from infra.settings import Settings
from infra.workspace import RUN_RECORD, Run, run_workspace
from tasks.checks.task import Measured
from tasks.contract.errors import EstimationError, SourceError, SpecError
from tasks.contract.refs import PartitionRef, Ref
from tasks.contract.registry import resolve
from tasks.contract.roles import TableSchema
from tasks.contract.spec import Spec
from tasks.mechanisms.task import Copy, Fitted, FoldFit, Models, Table
from tasks.publish.layout import part_path
from tasks.publish.manifest import Manifest
from tasks.source.inspection import Profile
from tasks.source.plan import SourcePlan
from tasks.source.task import Source

# Stages of reading, of a cross-fitting, of drawing one copy (beside cross-fitting and calibration), of judging and publishing.
READING, FITTING, DRAWING, CONCLUDING = 4, 2, 3, 4


@flow(name="release", flow_run_name="release {spec.name}", log_prints=False)
def release(spec: Spec) -> dict[str, Any]:
    """Mint one release.

    Parameters
    ----------
    spec : Spec
        What to release; see docs or ``waymint schema``.

    Returns
    -------
    dict
        ``{"status": "published", "uri", "version", "manifest"}``.

    Raises
    ------
    GateFailed
        If a gate failed; its ``reply`` is the ``"rejected"`` reply. Nothing was published.
    WaymintError
        SpecError, SourceError, EstimationError, StoreError: see docs/errors.md.
    """
    with run_workspace(spec, Settings()) as space, shown() as stages:
        record, new = space.begun()
        if not new:
            stages.note(f"resuming run {record['id']}: finished parts are kept")
        run = Run(spec=spec, workspace=space.uri, id=record["id"], created=record["created"])
        _early_checks(run)
        space.put_record(RUN_RECORD, record)
        try:
            reply = outlasting(lambda runner: mint.with_options(task_runner=runner)(run), spec.engine, stages)
        except (SourceError, SpecError, EstimationError):
            space.clear()  # the same command can't succeed: nothing to resume, and real rows to remove
            raise
        space.clear()
    if reply["status"] == "rejected":
        raise checks.rejection(reply)
    return reply


def _early_checks(run: Run) -> None:
    """Tell what is wrong with names, parameters and store before any work is done."""
    resolve("synthesizer", run.spec.covariates.synthesizer, run.spec.covariates.params)
    resolve("learner", run.spec.mechanisms.learner, run.spec.mechanisms.params)
    publishing.check_store(run)


@flow(name="mint", flow_run_name="mint {run.spec.name}", validate_parameters=False)
def mint(run: Run) -> dict[str, Any]:
    """Do the work of one release on the run's task runner; returns the reply, published or rejected."""
    stages = Stages.current()
    stages.watch(_progress(run))
    found = _read(run, stages)
    schema = found.described.table
    stages.note(profile_line(found.described.profile, schema))
    for warning in found.described.warnings:
        stages.warn(warning)
    publishing.check_name(run, schema)
    publishing.check_added_columns(run, schema)
    # Great Expectations takes 10 s to import: meanwhile the workers fit
    threading.Thread(target=checks.load_judge, daemon=True).start()
    copies = [_copy(run, stages, schema, found.parts, copy) for copy in range(run.spec.release.copies)]
    return _conclude(run, stages, found, copies)


def _progress(run: Run) -> Callable[[int, str], None]:
    """Show the run's progress as a Prefect artifact; returns what is to be called at the end of each stage."""
    copies, hybrid = run.spec.release.copies, run.spec.release.mode == "hybrid"
    fittings = 2 * copies + (copies > 1)  # of each copy's source and release, and of the source itself where copies are weighted
    total = READING + FITTING * fittings + copies * (DRAWING + hybrid) + CONCLUDING
    artifact = create_progress_artifact(progress=0.0, key="progress", description=f"Release {run.spec.name}, run {run.id}")
    assert isinstance(artifact, UUID)  # in a synchronous flow it is no coroutine

    def told(done: int, name: str) -> None:
        update_progress_artifact(artifact, progress=round(100.0 * min(1.0, done / total), 1), description=name)

    return told


def profile_line(profile: Profile, schema: TableSchema) -> str:
    """Return the profile's line for the log: rows, columns by kind, missing cells, arms."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(column.kind for column in schema.covariates).items())
    arms = ", ".join(f"{label}: {rows:,}" for label, rows in profile.arms.items())
    missing = sum(column.missing for column in schema.covariates)
    return (
        f"source: {profile.rows_used:,} of {profile.rows:,} rows used; covariates: {kinds}; "
        f"{missing:,} missing cells; outcome {schema.outcome_kind}; arms {arms}"
    )


def _read(run: Run, stages: Stages) -> Source:
    """Bring the source into the workspace: typed, hashed, in hash order, cut into partitions."""
    spec, timeout = run.spec, run.spec.engine.timeout
    with stages.stage("read source: plan") as stage:
        plan = gather([source.plan.submit(run)], stage, timeout)[0]
    _forget_other_source(run, plan)
    shards = source.shards(plan, spec.source.partition_rows)
    with stages.stage("read source: inspect", len(shards)) as stage:
        states = gather([source.inspect.submit(run, plan, shard, number) for number, shard in enumerate(shards)], stage, timeout)
    described = source.describe(run, plan, states)
    schema = described.table
    buckets = -(-schema.rows // spec.source.partition_rows)
    with stages.stage("read source: hash rows", len(shards)) as stage:
        scattered = [source.scatter.submit(run, plan, schema, shard, number, buckets) for number, shard in enumerate(shards)]
        pieces = [ref for refs in gather(scattered, stage, timeout) for ref in refs]
    with stages.stage("read source: settle", buckets) as stage:
        parts = gather([source.settle_bucket.submit(run, pieces, bucket) for bucket in range(buckets)], stage, timeout)
    return Source(plan, described, tuple(part for part in parts if part.rows))


def _forget_other_source(run: Run, plan: SourcePlan) -> None:
    """Start over if the source has changed since a killed run read it."""
    space = run.space()
    seen = space.record("source.json")
    if seen is not None and seen["fingerprint"] != plan.fingerprint:
        space.clear(keep=(RUN_RECORD, "claim.json", source.BUILTIN_KEY, f"{source.BUILTIN_KEY}.receipt"))
    space.put_record("source.json", {"fingerprint": plan.fingerprint})


def _copy(run: Run, stages: Stages, schema: TableSchema, parts: Sequence[PartitionRef], copy: int) -> Copy:
    """Fit everything one copy is drawn from, and draw it."""
    spec, timeout = run.spec, run.spec.engine.timeout
    of = f" of copy {copy}" if spec.release.copies > 1 else ""
    table = Table(f"mechanisms/copy-{copy}", tuple(parts), copy if spec.release.copies > 1 else None, spec.mechanisms.propensity)
    synthesizer = covariates.fit.submit(run, schema, parts, copy)
    fitted = _cross_fit(run, stages, schema, table, f"fit treatment and outcome{of}")
    with stages.stage(f"fit covariates ({spec.covariates.synthesizer}){of}") as stage:
        model = gather([synthesizer], stage, timeout)[0]
    with stages.stage(f"target outcome{of}", 2 * len(parts) + 1) as stage:
        predicted = gather([mechanisms.average.submit(run, schema, table, fitted.fits, part) for part in parts], stage, timeout)
        assembling = mechanisms.assemble.submit(run, schema, table, fitted.nuisances, fitted.fits, predicted)
        assembled, targeting = gather([assembling], stage, timeout)[0]
        anchoring = [mechanisms.anchor.submit(run, schema, table, assembled, *pair) for pair in zip(parts, predicted)]
        anchored = gather(anchoring, stage, timeout)
    balance = None
    if spec.release.mode == "hybrid":
        with stages.stage(f"calibrate covariates{of}") as stage:
            balance = gather([mechanisms.calibrate.submit(run, schema, table, model, assembled, anchored)], stage, timeout)[0]
    models = Models(model, assembled, balance)
    sizes = part_sizes(spec.release.rows, spec.release.part_rows)
    with stages.stage(f"draw release{of}", len(sizes)) as stage:
        drawing = [mechanisms.draw.submit(run, schema, models, copy, part, rows) for part, rows in enumerate(sizes)]
        drawn = gather(drawing, stage, timeout)
    return Copy(fitted, anchored, models, drawn, targeting)


def part_sizes(rows: int, part_rows: int) -> list[int]:
    """Cut rows into parts of at most ``part_rows``, as even as can be."""
    parts = -(-rows // part_rows)
    return [rows // parts + (part < rows % parts) for part in range(parts)]


def _cross_fit(run: Run, stages: Stages, schema: TableSchema, table: Table, title: str) -> Fitted:
    timeout = run.spec.engine.timeout
    folds, repeats = range(run.spec.mechanisms.folds), range(run.spec.repeats(table.rows))
    with stages.stage(title, len(repeats) * (len(folds) + 1)) as stage:
        assigned = gather([mechanisms.folds.submit(run, schema, table, repeat) for repeat in repeats], stage, timeout)
        pairs = [(repeat, fold) for repeat in repeats for fold in folds]
        fits = gather([mechanisms.fit.submit(run, schema, table, assigned[repeat], repeat, fold) for repeat, fold in pairs], stage, timeout)
    if mechanisms.refines(run, table):
        grouped = [[fit for fit in fits if fit.repeat == repeat] for repeat in repeats]
        fits = [fit for own, folded in zip(grouped, assigned) for fit in _refine(run, stages, schema, table, folded, own, title)]
    with stages.stage(f"{title}: collect") as stage:
        nuisances = gather([mechanisms.collect.submit(run, table, assigned[0], fits)], stage, timeout)[0]
    return Fitted(table, nuisances, fits)


def _refine(
    run: Run, stages: Stages, schema: TableSchema, table: Table, assigned: PartitionRef, fits: Sequence[FoldFit], title: str
) -> list[FoldFit]:
    """Go on from models of a sample to models of all rows, one partition in memory at a time."""
    timeout, state, number, done = run.spec.engine.timeout, None, 0, False
    while not done:
        number += 1
        with stages.stage(f"{title}: pass {number} over all rows", len(table.parts) + 1) as stage:
            visiting = [mechanisms.visit.submit(run, schema, table, assigned, fits, number, state, part) for part in table.parts]
            visited = gather(visiting, stage, timeout)
            ending = mechanisms.advance.submit(run, schema, table, fits, number, state, visited)
            state, done = gather([ending], stage, timeout)[0]
    with stages.stage(f"{title}: predict", len(fits)) as stage:
        keeping = [mechanisms.refined.submit(run, schema, table, assigned, fits, state, fold) for fold in range(len(fits))]
        return gather(keeping, stage, timeout)


def _measure(run: Run, stages: Stages, found: Source, copies: Sequence[Copy]) -> tuple[Measured, list[Ref]]:
    """Estimate effects on source and release, distances, conformity; also return the effects of every copy."""
    schema, timeout = found.described.table, run.spec.engine.timeout
    canonical = [part.canonical for copy in copies for part in copy.drawn]
    sampled = checks.sample.submit(run, schema, found.parts, canonical)
    conform = [
        checks.conformity.submit(run, schema, part.canonical, part.released, number, part.canonical.part)
        for number, copy in enumerate(copies)
        for part in copy.drawn
    ]
    refits, effects = [], []
    for number, copy in enumerate(copies):
        name = f"release/copy-{number}"
        title = "estimate on release" + (f", copy {number}" if len(copies) > 1 else "")
        refits.append(_cross_fit(run, stages, schema, Table(name, tuple(part.canonical for part in copy.drawn)), title))
        effects.append(estimation.effects.submit(run, schema, refits[-1].table.parts, refits[-1].nuisances, name))
    first, refit = copies[0], refits[0]
    source_fit = first.fitted
    if len(copies) > 1:  # each copy's fit is a bootstrap draw: the source's own estimate needs equal weights
        source_fit = _cross_fit(
            run, stages, schema, Table("source", found.parts, None, run.spec.mechanisms.propensity), "estimate on source"
        )
    with stages.stage("measure effects and distances", len(found.parts) + len(effects) + len(conform) + 6) as stage:
        sample = gather([sampled], stage, timeout)[0]
        near = sample.seed.rows and sample.holdout.rows
        distances = distance.measure.submit(run, schema, sample.seed, sample.holdout, sample.pool, sample.drawn) if near else None
        covered = distance.cover.submit(run, schema, sample.seed, sample.holdout, sample.drawn) if near else None
        canonical_first = [part.canonical for part in first.drawn]
        people = estimation.people.submit(run, schema, found.parts, source_fit.nuisances, canonical_first, refit.nuisances)
        own = gather([estimation.effects.submit(run, schema, found.parts, source_fit.nuisances, "source")], stage, timeout)[0]
        transfer = Table("transfer", found.parts)
        learnt = gather([mechanisms.average.submit(run, schema, transfer, refit.fits, part) for part in found.parts], stage, timeout)
        released = gather(effects, stage, timeout)
        known = [part.predictions for part in first.anchored]
        drawn = canonical_first if run.spec.release.mode == "hybrid" else [refit.nuisances]
        fidelity = estimation.fidelity.submit(run, schema, source_fit.nuisances, known, learnt, drawn, released[0])
        measured = Measured(
            source=own,
            release=released[0],
            fidelity=gather([fidelity], stage, timeout)[0],
            sample=sample,
            distances=gather([distances], stage, timeout)[0] if distances is not None else None,
            conformity=tuple(gather(conform, stage, timeout)),
            people=gather([people], stage, timeout)[0],
            coverage=gather([covered], stage, timeout)[0] if covered is not None else None,
            targetings=tuple(copy.targeting for copy in copies),
            balances=tuple(copy.models.balance for copy in copies if copy.models.balance is not None),
        )
    return measured, released


def _conclude(run: Run, stages: Stages, found: Source, copies: Sequence[Copy]) -> dict[str, Any]:
    """Judge, then publish the release or keep the reasons why not."""
    schema, timeout = found.described.table, run.spec.engine.timeout
    canonical = [part.canonical for copy in copies for part in copy.drawn]
    counting = [reporting.marginals.submit(run, schema, *of) for of in ((found.parts, "source"), (canonical, "release"))]
    measured, effects = _measure(run, stages, found, copies)
    with stages.stage("count marginals", 2) as stage:
        marginals = gather(counting, stage, timeout)
    with stages.stage("judge (Great Expectations)"):
        judged = checks.judge(run, measured, run.spec.main)
    combined = estimation.combined(run, measured.source, effects)
    facts = publishing.facts(run, found.plan, found.described, measured, effects, combined, judged.gates, run.spec.main)
    rejected = any(gate.passed is False for gate in judged.gates)
    pictures = reporting.pictures(run, schema, measured, marginals)
    table = [gate.model_dump() for gate in judged.gates]
    create_table_artifact(key="gates", table=table, description=f"Gates of release {run.spec.name}, run {run.id}")
    page = functools.partial(reporting.report, pictures=pictures, status="rejected" if rejected else "published")
    if rejected:
        with stages.stage("keep checks of the rejected release"):
            reply: dict[str, Any] = publishing.keep_rejected(run, facts, judged.files, page)
            return reply
    parts = {part_path(number, part.released.part): part.released for number, copy in enumerate(copies) for part in copy.drawn}
    with stages.stage("publish"):
        published: dict[str, Any] = publishing.publish(run, schema, parts, facts, judged.files, page)
    return published


def describe(reply: dict[str, Any]) -> list[str]:
    """Return the lines a user reads at the end of a published run."""
    uri = reply["uri"]
    return [
        *summary(Manifest.model_validate(reply["manifest"])),
        "",
        f"release   {uri}",
        f"report    {uri}/report.html",
        f"verify    waymint releases verify {uri}",
    ]
