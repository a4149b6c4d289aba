"""The augment flow: synthetic rows where a treatment arm is missing, published with their price, or refused."""

from __future__ import annotations

import functools
import itertools
import json
import threading
from collections.abc import Sequence
from typing import Any

from prefect import flow

import tasks.augmentation.task as augmentation
import tasks.checks.task as checks
import tasks.covariates.task as covariates
import tasks.estimation.task as estimation
import tasks.mechanisms.task as mechanisms
import tasks.nuisance.task as nuisance
import tasks.publish.task as publishing
from flows.stages.augmentations import (
    Other,
    Outcome,
    effects_of,
    facts_of,
    find_other,
    judge_worth,
    judged_spec,
    marked,
    read_json,
    read_other,
    section,
)
from flows.stages.copies import check_models, part_sizes, resolve_synthesizer
from flows.stages.endings import Ending, cost_line, ending, unchanged_line
from flows.stages.measures import approach, submit_distances, submit_isolated
from flows.stages.nuisances import cross_fit
from flows.stages.precheck import check_sizes
from flows.stages.publications import keep_rejected, latest_repeated, publish_release
from flows.stages.runs import carry_out
from flows.stages.source import read_source
from flows.stages.verdicts import judge_release
from infra.stages import Stages
from infra.workspace import Run
from tasks.augmentation.page import arms_line, effect_name, render, verdict
from tasks.augmentation.settings import check_settings
from tasks.augmentation.task import Added, Analysed, Donor
from tasks.checks.measured import Measured
from tasks.checks.rejection import rejection
from tasks.checks.verdict import cautions
from tasks.contract.errors import GateFailed
from tasks.contract.refs import ModelRef, Ref
from tasks.contract.spec import Spec
from tasks.nuisance.task import Fitted, Table
from tasks.publish.layout import part_path
from tasks.source.profile import profile_line
from tasks.source.task import Source

SELF_NOTE = "Outcomes of added rows come from the source itself: they add no information about the outcome."


@flow(name="augment", flow_run_name="augment {spec.name}", log_prints=False)
def augment(spec: Spec) -> Ending:
    """Add synthetic rows where a treatment arm is missing; publish them like a release.

    Parameters
    ----------
    spec : Spec
        Its section ``augment`` says what.

    Returns
    -------
    dict
        ``{"status": "published", "uri", "version", "manifest"}``; status "unchanged" where ``release.unchanged`` says to skip a version
        that is there already.

    Raises
    ------
    GateFailed
        If the augmentation is expected to lose against what else could be done, or a gate failed; its ``reply`` is the
        ``"rejected"`` reply.
    WaymintError
        SpecError, SourceError, EstimationError, StoreError: see docs/errors.md.
    """
    return ending(carry_out(spec, "augment", enlarge, check=_early_checks), _rejection)


def _early_checks(run: Run) -> None:
    """Tell what is wrong with names, parameters, the other table and the store before any work is done."""
    check_models(run)
    if run.spec.augment.outcome != "self":
        find_other(run.spec)
    publishing.check_store(run)


@flow(name="enlarge", flow_run_name="enlarge {run.spec.name}", validate_parameters=False)
def enlarge(run: Run) -> Ending:
    """Do the work of one augmentation on the run's task runner; returns the reply."""
    return ending(_reply(run, Stages.current()), _rejection)


def _reply(run: Run, stages: Stages) -> dict[str, Any]:
    """Read, fit, weigh, add, judge and publish; return the reply: published, rejected or unchanged."""
    source = read_source(run, stages, "augment")
    schema, parts = source.described.table, source.parts
    cautions_of_size = check_sizes(run.spec, schema.rows, source.described.profile.arms, "augment")
    run = resolve_synthesizer(run, schema)
    spec = run.spec
    stages.note(profile_line(source.described.profile, schema))
    for warning in (*source.described.warnings, *cautions_of_size):
        stages.warn(warning)
    check_settings(run.spec, schema)
    publishing.check_name(run, marked(schema))
    other = None
    if spec.augment.outcome == "self":
        stages.warn(SELF_NOTE)
    else:
        other = read_other(run, stages, schema)
        if spec.augment.flip:
            other = other._replace(parts=tuple(stages.run("flip labels of the other table", augmentation.flip, run, other.parts)))
    latest = latest_repeated(run, "augment", source.plan.fingerprint, None if other is None else other.fingerprint)
    if latest is not None and latest.same_code:
        return latest.reply()
    # Great Expectations takes 10 s to import: meanwhile the workers fit
    threading.Thread(target=checks.load_judge, daemon=True).start()
    synthesizer = stages.submit(covariates.fit, run, schema, parts, 0)
    fit_of_source = cross_fit(
        run, stages, schema, Table("source", parts, None, spec.mechanisms.known_propensity(schema.arms)), "fit treatment and outcome"
    )
    donor, decision = _decide(run, stages, source, fit_of_source, other)
    decided = read_json(run, decision)
    before = stages.run("estimate on source", estimation.effects, run, schema, parts, fit_of_source.nuisances, "source")
    with stages.stage("judge worth (Great Expectations)"):
        worth = judge_worth(run, decided)
    files = {f"worth/{path}": data for path, data in worth.files.items()}
    record = read_json(run, before)
    if any(gate.passed is False for gate in worth.gates):
        summary = section(run, decided, other, augmentation.before_of(record, schema), None)
        outcome = Outcome(worth.gates, summary, {"source": effects_of(record)}, {"source": record["overlap"]}, None, _notes(other))
        return _keep(run, stages, source, other, outcome, files)
    model = stages.wait(f"fit covariates ({spec.covariates.synthesizer})", [synthesizer])[0]
    sizes = part_sizes(decided["chosen"]["rows"], spec.release.part_rows)
    ends = [0, *itertools.accumulate(augmentation.room(rows, len(schema.arms)) for rows in sizes)]
    donor_models = _beside(run, stages, source, Donor(model, tuple(fit.model for fit in fit_of_source.fits), donor), ends[-1])
    adding = [(run, schema, donor_models, decision, part, rows, ends[part]) for part, rows in enumerate(sizes)]
    added: list[Added] = stages.map("add rows", augmentation.add, adding, sizes)
    return _conclude(run, stages, source, fit_of_source, other, decision, before, added, (worth.gates, files))


def _beside(run: Run, stages: Stages, source: Source, donor: Donor, rows: int) -> Donor:
    """Add what rows need beside (W, A, Y): laws of the source's passengers, the form of so many fresh ids."""
    schema, parts = source.described.table, source.parts
    if any(not column.constant for column in schema.passengers):
        donor = donor._replace(passengers=stages.run("fit passengers", covariates.fit_passengers, run, schema, parts))
    if schema.ids:
        donor = donor._replace(keys=stages.run("learn form of keys", mechanisms.learn_keys, run, schema, parts, rows))
    return donor


def _decide(run: Run, stages: Stages, source: Source, fit_of_source: Fitted, other: Other | None) -> tuple[ModelRef, Ref]:
    """Fit the model that outcomes come from, and weigh the augmentation against what else could be done."""
    schema, parts = source.described.table, source.parts
    redrawing = [stages.submit(augmentation.redraw, run, schema, parts, parts, "source")]
    given, pooled = fit_of_source, None
    if other is not None:
        redrawing.append(stages.submit(augmentation.redraw, run, schema, other.parts, parts, "other"))
        given = cross_fit(run, stages, schema, Table("other", other.parts), "fit other table")
        pooled = cross_fit(run, stages, schema, Table("pooled", (*parts, *other.parts)), "fit both tables as one")
    ensembles = stages.wait("redraw outcome models", redrawing)
    with stages.stage("target outcome", len(given.table.parts) + 1) as stage:
        predicted = stage.map(nuisance.average, [(run, schema, given.table, given.fits, part) for part in given.table.parts])
        donor = stage.run(mechanisms.assemble, run, schema, given.table, given.nuisances, given.fits, predicted).mechanisms
    analysed = Analysed(fit_of_source.nuisances, None if other is None else given.nuisances, None if pooled is None else pooled.nuisances)
    models = (ensembles[0], ensembles[1] if other is not None else None)
    return donor, stages.run("weigh augmentation", augmentation.decide, run, schema, parts, analysed, *models)


def _conclude(
    run: Run,
    stages: Stages,
    source: Source,
    fit_of_source: Fitted,
    other: Other | None,
    decision: Ref,
    before: Ref,
    added: Sequence[Added],
    judged: tuple[Any, dict[str, bytes]],
) -> dict[str, Any]:
    """Estimate again, judge the added rows, and publish them or keep the reasons why not."""
    rows = [part.canonical for part in added]
    table = Table("augmented", (*source.parts, *rows))
    fitted = cross_fit(run, stages, source.described.table, table, "fit source and added rows")
    measured, after = _measure(run, stages, source, added, (fit_of_source, fitted), decision, before)
    verdict_run = run.model_copy(update={"spec": judged_spec(run.spec)})
    said = judge_release(verdict_run, stages, source, rows, measured)
    wanted = [gate for gate in said.judgement.gates if gate.status != "off" or getattr(run.spec.gates, gate.name, None) is False]
    gates = (*judged[0], *wanted)
    records = {"source": read_json(run, before), "augmented": read_json(run, measured.release)}
    summary = section(run, read_json(run, decision), other, augmentation.before_of(records["source"], source.described.table), after)
    effects = {"source": effects_of(records["source"]), "augmented": effects_of({"estimates": summary["estimates"]["after"]})}
    overlap = {name: each["overlap"] for name, each in records.items()}
    outcome = Outcome(gates, summary, effects, overlap, said.holdout, (*_notes(other), *cautions(said.judgement.gates)))
    stages.table("gates", [gate.model_dump() for gate in gates], f"Gates of {run.spec.name}, run {run.id}")
    files = judged[1] | said.judgement.files
    if any(gate.passed is False for gate in gates):
        return _keep(run, stages, source, other, outcome, files)
    released = {part_path(0, each.released.part): each.released for each in added}
    facts = facts_of(run, source, other, outcome).model_copy(update={"metrics": stages.metrics(sum(part.rows for part in rows))})
    page = functools.partial(render, status="published")
    return publish_release(run, stages, marked(source.described.table), released, facts, files, page)


def _measure(
    run: Run, stages: Stages, source: Source, added: Sequence[Added], fits: tuple[Fitted, Fitted], decision: Ref, before: Ref
) -> tuple[Measured, dict[str, Any]]:
    """Measure source and added rows together; also return the effects after, by every way to average.

    ``fits``: of the source alone, and of source and added rows.
    """
    schema, rows, (of_source, of_all) = source.described.table, [part.canonical for part in added], fits
    with stages.stage("measure effects and distances", 2 * len(added) + 5) as stage:
        conform = [stages.submit(checks.conformity, run, schema, each.canonical, each.released, 0, each.canonical.part) for each in added]
        sampled = stages.submit(checks.sample, run, schema, source.parts, rows)
        whole = stages.submit(estimation.effects, run, schema, of_all.table.parts, of_all.nuisances, "augmented")
        again = stages.submit(augmentation.after, run, schema, of_source.nuisances, rows, of_all.nuisances, decision)
        sample = stage.wait([sampled])[0]
        distances, isolated = submit_distances(run, stages, schema, sample), submit_isolated(run, stages, schema, sample)
        watched, approached = approach(run, stages, stage, schema, sample, isolated, [(0, part) for part in rows])
        by_outcome = [{"outcome": column.name, "truth": None} for column in schema.outcomes] if len(schema.outcomes) > 1 else []
        nothing = run.space().put_bytes("augmentation/nothing.json", json.dumps({"truth": None, "outcomes": by_outcome}).encode())
        measured = Measured(
            source=before,
            release=stage.wait([whole])[0],
            fidelity=nothing,
            sample=sample,
            distances=stage.wait([distances])[0] if distances is not None else None,
            conformity=tuple(stage.wait(conform)),
            balances=(),
            targetings=(),
            people=nothing,
            coverage=None,
            isolated=watched,
            approaches=approached,
        )
        return measured, read_json(run, stage.wait([again])[0])


def _keep(run: Run, stages: Stages, source: Source, other: Other | None, outcome: Outcome, files: dict[str, bytes]) -> dict[str, Any]:
    """Keep checks and report of an augmentation that is not published."""
    page = functools.partial(render, status="rejected")
    return keep_rejected(run, stages, facts_of(run, source, other, outcome), files, page)


def _notes(other: Other | None) -> tuple[str, ...]:
    return (SELF_NOTE,) if other is None else ()


def _rejection(reply: dict[str, Any]) -> GateFailed:
    """Say why an augmentation was refused: what it would lose against, else which gates failed."""
    summary = reply["manifest"]["augmentation"]
    worth = next(gate for gate in reply["manifest"]["gates"] if gate["name"] == "worth")
    if worth["passed"] is not False:
        return rejection(reply)
    error = GateFailed(
        f"augmentation is expected to lose: {verdict(summary)} Nothing was published.",
        f"All ways and their expected squared errors: {reply['uri']}/report.html. augment.worth = false publishes it all the same.",
    )
    error.reply = dict(reply)
    return error


def describe(reply: dict[str, Any]) -> list[str]:
    """Return the lines a user reads at the end of a run that was not rejected."""
    summary, uri = reply["manifest"]["augmentation"], reply["uri"]
    name = f"{reply['manifest']['name']} v{reply['version']:06d}"
    lines = [f"{name}  {summary['rows']:,} rows added, {arms_line(summary)}"]
    lines += [f"outcomes  {summary['outcome']['source']}", *(f"missing   {each['sentence']}" for each in summary["regions"])]
    before = {effect_name(each): each for each in summary["estimates"]["before"]}
    for each in summary["estimates"]["after"]:
        name = effect_name(each)
        was = before.get(name)
        text = "" if was is None else f"{was['estimate']:9.4g} (SE {was['se']:.2g})  to"
        lines.append(f"{name:<10}{text}{each['estimate']:9.4g} (SE {each['se']:.2g})")
    lines.append(verdict(summary))
    lines = [*unchanged_line(reply), *lines, *cost_line(reply), ""]
    return [*lines, f"release   {uri}", f"report    {uri}/report.html", f"verify    waymint releases verify {uri}"]
