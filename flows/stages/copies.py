"""One copy of a release: its models fitted, its rows drawn."""

from __future__ import annotations

from collections.abc import Sequence

import tasks.covariates.task as covariates
import tasks.mechanisms.task as mechanisms
import tasks.nuisance.task as nuisance
from flows.stages.nuisances import cross_fit
from infra.stages import Stages
from infra.workspace import Run
from tasks.contract.refs import PartitionRef
from tasks.contract.registry import resolve
from tasks.contract.roles import TableSchema
from tasks.mechanisms.task import Copy, FittedCopy, Learnt, Models
from tasks.nuisance.task import Table

MOST_NAMED = 6
"""Traits of one kind that a line names; the manifest has all of them."""


def check_models(run: Run) -> None:
    """Refuse a synthesizer or learner that is not known, or parameters it does not take, before any work is done."""
    resolve("synthesizer", run.spec.covariates.resolved(0).synthesizer, run.spec.covariates.params)
    resolve("learner", run.spec.mechanisms.learner, run.spec.mechanisms.params)


def resolve_synthesizer(run: Run, schema: TableSchema) -> Run:
    """Name the synthesizer that "auto" is for the source: from here on the run's SPEC says it, and so does the manifest."""
    return run.model_copy(update={"spec": run.spec.model_copy(update={"covariates": run.spec.covariates.resolved(schema.rows)})})


def make_copy(run: Run, stages: Stages, schema: TableSchema, parts: Sequence[PartitionRef], copy: int) -> Copy:
    """Fit everything one copy is drawn from, and draw it."""
    return draw_copy(run, stages, schema, fit_models(run, stages, schema, parts, copy), copy)


def draw_copy(run: Run, stages: Stages, schema: TableSchema, models: FittedCopy, copy: int) -> Copy:
    """Draw the rows of one copy."""
    sizes = part_sizes(run.spec.release.rows, run.spec.release.part_rows)
    drawing = [(run, schema, models.models, copy, part, rows) for part, rows in enumerate(sizes)]
    drawn = stages.map(f"draw release{_of(run, copy)}", mechanisms.draw, drawing, sizes)
    return Copy(models.fitted, models.anchored, models.models, drawn, models.targeting)


def fit_models(run: Run, stages: Stages, schema: TableSchema, parts: Sequence[PartitionRef], copy: int) -> FittedCopy:
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
    of = _of(run, copy)
    synthesizer = stages.submit(covariates.fit, run, schema, parts, copy)
    learnt = fit_mechanisms(run, stages, schema, parts, copy)
    title = f"fit covariates ({run.spec.covariates.synthesizer}){of}"
    model = stages.wait(title, [synthesizer], progress=lambda: covariates.progress(run, copy))[0]
    if copy == 0:
        for kind, texts in covariates.kept(run).items():
            stages.note(f"kept      {kind}: {'; '.join(texts[:MOST_NAMED])}{'; ...' if len(texts) > MOST_NAMED else ''}")
    models = fit_beside(run, stages, schema, parts, Models(model, learnt.mechanisms, None), learnt)
    if run.spec.release.mode == "hybrid":
        weighted = (run, schema, learnt.fitted.table, model, learnt.mechanisms, learnt.anchored, models.clusters)
        models = models._replace(balance=stages.run(f"calibrate covariates{of}", mechanisms.calibrate, *weighted))
    return FittedCopy(learnt.fitted, learnt.anchored, models, learnt.targeting)


def fit_beside(run: Run, stages: Stages, schema: TableSchema, parts: Sequence[PartitionRef], models: Models, learnt: Learnt) -> Models:
    """Add what rows need beside (W, A, Y): laws of passengers and of clusters, the form of fresh keys."""
    if any(not column.constant for column in schema.passengers):
        models = models._replace(passengers=stages.run("fit passengers", covariates.fit_passengers, run, schema, parts))
    if schema.ids or schema.cluster is not None:
        models = models._replace(keys=stages.run("learn form of keys", mechanisms.learn_keys, run, schema, parts))
    if schema.cluster is not None:
        fitted = learnt.fitted
        learning = (run, schema, fitted.table, fitted.nuisances, learnt.mechanisms)
        models = models._replace(clusters=stages.run("learn clusters", mechanisms.learn_clusters, *learning))
    return models


def fit_mechanisms(run: Run, stages: Stages, schema: TableSchema, parts: Sequence[PartitionRef], copy: int) -> Learnt:
    """Cross-fit the mechanisms of a source and target the outcome; the arguments are those of :func:`fit_models`."""
    spec, of = run.spec, _of(run, copy)
    table = Table(
        f"mechanisms/copy-{copy}", tuple(parts), copy if spec.release.copies > 1 else None, spec.mechanisms.known_propensity(schema.arms)
    )
    fitted = cross_fit(run, stages, schema, table, f"fit treatment and outcome{of}")
    with stages.stage(f"target outcome{of}", 2 * len(parts) + 1) as stage:
        rows = [part.rows for part in parts]
        predicted = stage.map(nuisance.average, [(run, schema, table, fitted.fits, part) for part in parts], rows)
        assembled, targeting = stage.run(mechanisms.assemble, run, schema, table, fitted.nuisances, fitted.fits, predicted)
        anchoring = [(run, schema, table, assembled, *pair) for pair in zip(parts, predicted)]
        anchored = stage.map(mechanisms.anchor, anchoring, rows)
    return Learnt(fitted, assembled, anchored, targeting)


def part_sizes(rows: int, part_rows: int) -> list[int]:
    """Cut rows into parts of at most ``part_rows``, as even as can be."""
    parts = -(-rows // part_rows)
    return [rows // parts + (part < rows % parts) for part in range(parts)]


def _of(run: Run, copy: int) -> str:
    """Name the copy in the title of a stage, where there is more than one."""
    return f" of copy {copy}" if run.spec.release.copies > 1 else ""
