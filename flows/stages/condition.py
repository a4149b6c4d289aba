"""Rows that meet a condition: the part of a table that does, and models whose calibration meets its means."""

from __future__ import annotations

import tasks.mechanisms.task as mechanisms
import tasks.source.task as source_tasks
from flows.stages.nuisances import cross_fit
from flows.stages.precheck import check_sizes
from infra.stages import Stages
from infra.workspace import Run
from tasks.contract.conditions import check_condition
from tasks.contract.errors import SourceError, SpecError
from tasks.contract.refs import Ref
from tasks.contract.roles import TableSchema
from tasks.mechanisms.task import FittedCopy, Models
from tasks.nuisance.task import Table
from tasks.source.task import Source

#: Fewest rows of a table that a condition may leave out, or none: what four rows contribute could be found by subtraction.
FEWEST_OTHERS = 5


def unconditional(run: Run) -> Run:
    """Return the run without its condition: what models are fitted by, which hold for all rows."""
    if not run.spec.release.where:
        return run
    release = run.spec.release.model_copy(update={"where": ""})
    return run.model_copy(update={"spec": run.spec.model_copy(update={"release": release})})


def check_where(run: Run, schema: TableSchema) -> None:
    """Refuse a condition that the table's covariates can't be asked, before anything is fitted.

    Raises
    ------
    SpecError
        If it names no covariate, or rows come in clusters.
    """
    condition = run.spec.release.condition
    if condition is None:
        return
    check_condition(condition, schema)
    if schema.cluster is not None:
        raise SpecError(
            f"where of release must be left out where rows come in clusters; got '{condition.text}'.",
            "Rows of one cluster would be drawn without the others.",
        )


def narrow(run: Run, stages: Stages, source: Source) -> Source:
    """Return the part of a table that meets the run's condition; all of it where there is none.

    Raises
    ------
    SourceError
        If it is too small to judge by, or leaves out fewer than five rows.
    """
    condition, schema = run.spec.release.condition, source.described.table
    if condition is None:
        return source
    selecting, sizes = [(run, schema, part) for part in source.parts], [part.rows for part in source.parts]
    chosen = stages.map("select rows that meet the condition", source_tasks.select, selecting, sizes)
    parts = tuple(each.part for each in chosen if each.part.rows)
    rows, whole = sum(part.rows for part in parts), sum(part.rows for part in source.parts)
    if 0 < whole - rows < FEWEST_OTHERS:
        raise SourceError(
            f"condition '{condition.text}' must leave out at least {FEWEST_OTHERS} rows or none; it leaves out fewer.",
            "Leave it out, or narrow it.",
        )
    arms = {label: sum(each.arms[number] for each in chosen) for number, label in enumerate(schema.arms)}
    cautions = check_sizes(run.spec, rows, arms, "release")
    said = f"Rows meet the condition {condition.text}: effects, gates and figures are of the {rows:,} of {whole:,} rows that do."
    return Source(source.plan, source.described._replace(warnings=(*source.described.warnings, *cautions, said)), parts)


def refer(run: Run, stages: Stages, source: Source, models: Models, targeting: Ref, copy: int) -> FittedCopy:
    """Prepare fitted models for rows that are judged by another table than the one they were fitted to.

    Parameters
    ----------
    run, stages : Run, Stages
        The run and its progress.
    source : Source
        The table that rows are judged by: a part of the source, or a release of it. Where the run has a condition, all its rows meet it.
    models : Models
        Fitted to the whole source. With a condition they are calibrated anew: the covariates' means, and with them the effect, are
        those that the mechanisms give the table's rows.
    targeting : Ref
        Record of how the outcome was targeted.
    copy : int
        Number of the copy.
    """
    schema, of = source.described.table, f" of copy {copy}" if run.spec.release.copies > 1 else ""
    propensity = run.spec.mechanisms.known_propensity(schema.arms)
    table = Table(f"reference/copy-{copy}", source.parts, copy if run.spec.release.copies > 1 else None, propensity)
    fitted = cross_fit(run, stages, schema, table, f"fit treatment and outcome in the rows to compare with{of}")
    anchoring = [(run, schema, table, models.mechanisms, part, None) for part in source.parts]
    anchored = stages.map(f"predict the rows to compare with{of}", mechanisms.anchor, anchoring, [part.rows for part in source.parts])
    if run.spec.release.where:
        weighing = (run, schema, table, models.covariates, models.mechanisms, anchored, models.clusters)
        models = models._replace(balance=stages.run(f"calibrate covariates to the condition{of}", mechanisms.calibrate, *weighing))
    return FittedCopy(fitted, anchored, models, targeting)
