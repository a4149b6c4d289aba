"""What flows have in common: a source brought into the workspace, a table cross-fitted, one copy of a release made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from prefect.futures import PrefectFuture

import tasks.checks.task as checks
import tasks.covariates.task as covariates
import tasks.distance.task as distance
import tasks.estimation.task as estimation
import tasks.mechanisms.task as mechanisms
import tasks.nuisance.task as nuisance
import tasks.source.task as source
from infra.cluster import gather, outlasting
from infra.logging import Stages, shown
from infra.settings import Settings
from infra.workspace import RUN_RECORD, Run, run_workspace
from tasks.checks.task import Measured, Sample
from tasks.contract.errors import EstimationError, SourceError, SpecError
from tasks.contract.refs import PartitionRef, Ref
from tasks.contract.registry import resolve
from tasks.contract.roles import TableSchema
from tasks.contract.spec import Purpose, Spec
from tasks.mechanisms.task import Copy, Learnt, Made, Models
from tasks.nuisance.task import Fitted, FoldFit, Table
from tasks.source.inspection import Profile
from tasks.source.plan import SourcePlan
from tasks.source.task import Source


def profile_line(profile: Profile, schema: TableSchema) -> str:
    """Return the profile's line for the log: rows, columns by kind, missing cells, arms."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(column.kind for column in schema.covariates).items())
    arms = ", ".join(f"{label}: {rows:,}" for label, rows in profile.arms.items())
    missing = sum(column.missing for column in schema.covariates)
    return (
        f"source: {profile.rows_used:,} of {profile.rows:,} rows used; covariates: {kinds}; "
        f"{missing:,} missing cells; outcome {schema.outcome_kind}; arms {arms}"
    )


def read_source(run: Run, stages: Stages) -> Source:
    """Bring the source into the workspace: typed, hashed, in hash order, cut into partitions."""
    spec, timeout = run.spec, run.spec.engine.timeout
    plan = read_plan(run, stages)
    _forget_other_source(run, plan)
    shards = source.shards(plan, spec.source.partition_rows)
    with stages.stage("read source: inspect", len(shards)) as stage:
        states = gather([source.inspect.submit(run, plan, shard, number) for number, shard in enumerate(shards)], stage, timeout)
    described = source.describe(run, plan, states)
    schema = described.table
    buckets = -(-schema.rows // spec.source.partition_rows)
    return Source(plan, described, read_rows(run, stages, plan, schema, buckets))


def check_models(run: Run) -> None:
    """Refuse a synthesizer or learner that is not known, or parameters it does not take, before any work is done."""
    resolve("synthesizer", run.spec.covariates.settled(0).synthesizer, run.spec.covariates.params)
    resolve("learner", run.spec.mechanisms.learner, run.spec.mechanisms.params)


def settled(run: Run, schema: TableSchema) -> Run:
    """Name the synthesizer that "auto" is for the source: from here on the run's SPEC says it, and so does the manifest."""
    return run.model_copy(update={"spec": run.spec.model_copy(update={"covariates": run.spec.covariates.settled(schema.rows)})})


def another_table(run: Run, name: str, uri: str) -> Run:
    """Return the run that reads another table than its source; what it writes lies in a folder of that name."""
    where = run.spec.source.model_copy(update={"uri": uri})
    return run.model_copy(update={"spec": run.spec.model_copy(update={"source": where}), "folder": name})


def read_plan(run: Run, stages: Stages, name: str = "source") -> SourcePlan:
    """List a table's fragments and take its fingerprint; ``name`` is what the stage calls the table."""
    with stages.stage(f"read {name}: plan") as stage:
        plan: SourcePlan = gather([source.plan.submit(run)], stage, run.spec.engine.timeout)[0]
        return plan


def read_rows(
    run: Run, stages: Stages, plan: SourcePlan, schema: TableSchema, buckets: int, name: str = "source"
) -> tuple[PartitionRef, ...]:
    """Bring a table's rows into canonical form and hash order, cut into so many partitions; empty ones are left out."""
    timeout, shards = run.spec.engine.timeout, source.shards(plan, run.spec.source.partition_rows)
    with stages.stage(f"read {name}: hash rows", len(shards)) as stage:
        scattered = [source.scatter.submit(run, plan, schema, shard, number, buckets) for number, shard in enumerate(shards)]
        pieces = [ref for refs in gather(scattered, stage, timeout) for ref in refs]
    with stages.stage(f"read {name}: settle", buckets) as stage:
        parts = gather([source.settle_bucket.submit(run, pieces, bucket) for bucket in range(buckets)], stage, timeout)
    return tuple(part for part in parts if part.rows)


def _forget_other_source(run: Run, plan: SourcePlan) -> None:
    """Start over if the source has changed since a killed run read it."""
    space = run.space()
    seen = space.record("source.json")
    if seen is not None and seen["fingerprint"] != plan.fingerprint:
        space.clear(keep=(RUN_RECORD, "claim.json", source.BUILTIN_KEY, f"{source.BUILTIN_KEY}.receipt"))
    space.put_record("source.json", {"fingerprint": plan.fingerprint})


def make_copy(run: Run, stages: Stages, schema: TableSchema, parts: Sequence[PartitionRef], copy: int) -> Copy:
    """Fit everything one copy is drawn from, and draw it."""
    made = fit_models(run, stages, schema, parts, copy)
    sizes = part_sizes(run.spec.release.rows, run.spec.release.part_rows)
    with stages.stage(f"draw release{_of(run, copy)}", len(sizes)) as stage:
        drawing = [mechanisms.draw.submit(run, schema, made.models, copy, part, rows) for part, rows in enumerate(sizes)]
        drawn = gather(drawing, stage, run.spec.engine.timeout)
    return Copy(made.fitted, made.anchored, made.models, drawn, made.targeting)


def _of(run: Run, copy: int) -> str:
    """Name the copy in the title of a stage, where there is more than one."""
    return f" of copy {copy}" if run.spec.release.copies > 1 else ""


def fit_models(run: Run, stages: Stages, schema: TableSchema, parts: Sequence[PartitionRef], copy: int) -> Made:
    """Fit the synthesizer and, by cross-fitting, the mechanisms; target the outcome and calibrate the covariates.

    Parameters
    ----------
    run : Run
        The SPEC says with what; objects are kept in the run's workspace.
    stages : Stages
        Progress.
    schema : TableSchema
        Of the source.
    parts : sequence of PartitionRef
        The source, canonical.
    copy : int
        Number of the Bayesian bootstrap draw, used where the SPEC asks for more than one copy.
    """
    timeout, of = run.spec.engine.timeout, _of(run, copy)
    synthesizer = covariates.fit.submit(run, schema, parts, copy)
    learnt = fit_mechanisms(run, stages, schema, parts, copy)
    with (
        stages.stage(f"fit covariates ({run.spec.covariates.synthesizer}){of}") as stage,
        stage.following(lambda: covariates.progress(run, copy)),
    ):
        model = gather([synthesizer], stage, timeout)[0]
    balance = None
    if run.spec.release.mode == "hybrid":
        with stages.stage(f"calibrate covariates{of}") as stage:
            table = learnt.fitted.table
            calibrating = mechanisms.calibrate.submit(run, schema, table, model, learnt.mechanisms, learnt.anchored)
            balance = gather([calibrating], stage, timeout)[0]
    return Made(learnt.fitted, learnt.anchored, Models(model, learnt.mechanisms, balance), learnt.targeting)


def fit_mechanisms(run: Run, stages: Stages, schema: TableSchema, parts: Sequence[PartitionRef], copy: int) -> Learnt:
    """Cross-fit the mechanisms of a source and target the outcome; the arguments are those of :func:`fit_models`."""
    spec, timeout, of = run.spec, run.spec.engine.timeout, _of(run, copy)
    table = Table(f"mechanisms/copy-{copy}", tuple(parts), copy if spec.release.copies > 1 else None, spec.mechanisms.propensity)
    fitted = cross_fit(run, stages, schema, table, f"fit treatment and outcome{of}")
    with stages.stage(f"target outcome{of}", 2 * len(parts) + 1) as stage:
        predicted = gather([nuisance.average.submit(run, schema, table, fitted.fits, part) for part in parts], stage, timeout)
        assembling = mechanisms.assemble.submit(run, schema, table, fitted.nuisances, fitted.fits, predicted)
        assembled, targeting = gather([assembling], stage, timeout)[0]
        anchoring = [mechanisms.anchor.submit(run, schema, table, assembled, *pair) for pair in zip(parts, predicted)]
        return Learnt(fitted, assembled, gather(anchoring, stage, timeout), targeting)


def part_sizes(rows: int, part_rows: int) -> list[int]:
    """Cut rows into parts of at most ``part_rows``, as even as can be."""
    parts = -(-rows // part_rows)
    return [rows // parts + (part < rows % parts) for part in range(parts)]


def cross_fit(run: Run, stages: Stages, schema: TableSchema, table: Table, title: str) -> Fitted:
    """Cross-fit g, Q0 and Q1 of a table as the SPEC's ``mechanisms`` say."""
    timeout = run.spec.engine.timeout
    folds, repeats = range(run.spec.mechanisms.folds), range(run.spec.repeats(table.rows))
    with stages.stage(title, len(repeats) * (len(folds) + 1)) as stage:
        assigned = gather([nuisance.folds.submit(run, schema, table, repeat) for repeat in repeats], stage, timeout)
        pairs = [(repeat, fold) for repeat in repeats for fold in folds]
        fits = gather([nuisance.fit.submit(run, schema, table, assigned[repeat], repeat, fold) for repeat, fold in pairs], stage, timeout)
    if nuisance.refines(run, table):
        grouped = [[fit for fit in fits if fit.repeat == repeat] for repeat in repeats]
        fits = [fit for own, folded in zip(grouped, assigned) for fit in _refine(run, stages, schema, table, folded, own, title)]
    with stages.stage(f"{title}: collect") as stage:
        nuisances = gather([nuisance.collect.submit(run, table, assigned[0], fits)], stage, timeout)[0]
    return Fitted(table, nuisances, fits)


def _refine(
    run: Run, stages: Stages, schema: TableSchema, table: Table, assigned: PartitionRef, fits: Sequence[FoldFit], title: str
) -> list[FoldFit]:
    """Go on from models of a sample to models of all rows, one partition in memory at a time."""
    timeout, state, number, done = run.spec.engine.timeout, None, 0, False
    while not done:
        number += 1
        with stages.stage(f"{title}: pass {number} over all rows", len(table.parts) + 1) as stage:
            visiting = [nuisance.visit.submit(run, schema, table, assigned, fits, number, state, part) for part in table.parts]
            visited = gather(visiting, stage, timeout)
            ending = nuisance.advance.submit(run, schema, table, fits, number, state, visited)
            state, done = gather([ending], stage, timeout)[0]
    with stages.stage(f"{title}: predict", len(fits)) as stage:
        keeping = [nuisance.refined.submit(run, schema, table, assigned, fits, state, fold) for fold in range(len(fits))]
        return gather(keeping, stage, timeout)


def measure(run: Run, stages: Stages, found: Source, copies: Sequence[Copy]) -> tuple[Measured, list[Ref]]:
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
        refits.append(cross_fit(run, stages, schema, Table(name, tuple(part.canonical for part in copy.drawn)), title))
        effects.append(estimation.effects.submit(run, schema, refits[-1].table.parts, refits[-1].nuisances, name))
    first, refit = copies[0], refits[0]
    source_fit = first.fitted
    if len(copies) > 1:  # each copy's fit is a bootstrap draw: the source's own estimate needs equal weights
        source_fit = cross_fit(
            run, stages, schema, Table("source", found.parts, None, run.spec.mechanisms.propensity), "estimate on source"
        )
    with stages.stage("measure effects and distances", len(found.parts) + len(effects) + len(conform) + 6) as stage:
        sample = gather([sampled], stage, timeout)[0]
        near = sample.seed.rows and sample.holdout.rows
        distances = submit_distances(run, schema, sample)
        covered = distance.cover.submit(run, schema, sample.seed, sample.holdout, sample.drawn) if near else None
        canonical_first = [part.canonical for part in first.drawn]
        people = estimation.people.submit(run, schema, found.parts, source_fit.nuisances, canonical_first, refit.nuisances)
        own = gather([estimation.effects.submit(run, schema, found.parts, source_fit.nuisances, "source")], stage, timeout)[0]
        transfer = Table("transfer", found.parts)
        learnt = gather([nuisance.average.submit(run, schema, transfer, refit.fits, part) for part in found.parts], stage, timeout)
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


def submit_distances(run: Run, schema: TableSchema, sample: Sample) -> PrefectFuture[Ref] | None:
    """Start the search for closest records; None where seed or holdout has no row."""
    if not (sample.seed.rows and sample.holdout.rows):
        return None
    parted = (sample.groups.drawn, sample.groups.pools) if sample.groups is not None else ()
    found: PrefectFuture[Ref] = distance.measure.submit(run, schema, sample.seed, sample.holdout, sample.pool, sample.drawn, *parted)
    return found


def carry_out(spec: Spec, purpose: Purpose, work: Any, *more: object, check: Callable[[Run], None] | None = None) -> dict[str, Any]:
    """Do a flow's work in its own workspace: begun or resumed, on clusters that may be lost, cleared once there is nothing to resume.

    Parameters
    ----------
    spec : Spec
        What is asked for.
    purpose : str
        Name of the flow.
    work : Flow
        Called with the run and ``more``, on the task runner that the SPEC's engine section asks for.
    check : callable, optional
        Tells what is wrong before any work is done.

    Returns
    -------
    dict
        What the work returns.
    """
    with run_workspace(spec, Settings(), purpose) as space, shown() as stages:
        record, new = space.begun()
        if not new:
            stages.note(f"resuming run {record['id']}: finished parts are kept")
        run = Run(spec=spec, workspace=space.uri, id=record["id"], created=record["created"])
        if check is not None:
            check(run)
        space.put_record(RUN_RECORD, record)
        try:
            reply: dict[str, Any] = outlasting(lambda runner: work.with_options(task_runner=runner)(run, *more), spec.engine, stages)
        except (SourceError, SpecError, EstimationError):
            space.clear()  # the same command can't succeed: nothing to resume, and real rows to remove
            raise
        space.clear()
    return reply
