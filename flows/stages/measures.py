"""Measuring a release: effects, distances, conformity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tasks.checks.task as checks
import tasks.distance.task as distance
import tasks.estimation.task as estimation
import tasks.nuisance.task as nuisance
from flows.stages.nuisances import cross_fit
from infra.stages import Future, Stage, Stages
from infra.workspace import Run
from tasks.checks.measured import Measured, Sample
from tasks.contract.refs import PartitionRef, Ref
from tasks.contract.roles import TableSchema
from tasks.mechanisms.task import Copy
from tasks.nuisance.plan import SOURCE, release_name
from tasks.nuisance.task import Fitted, Table
from tasks.source.task import Source


class Estimation(NamedTuple):
    """Effects under way: how each table was fitted, and the estimates that are being made.

    Attributes
    ----------
    source : Fitted
        The source, all rows of equal weight.
    refits : tuple of Fitted
        Each copy.
    effects : tuple of futures
        Each copy's effects.
    """

    source: Fitted
    refits: tuple[Fitted, ...]
    effects: tuple[Future, ...]


def measure(run: Run, stages: Stages, source: Source, copies: Sequence[Copy]) -> tuple[Measured, list[Ref]]:
    """Estimate effects on source and release, distances, conformity; also return the effects of every copy."""
    schema = source.described.table
    drawn = [(number, part) for number, copy in enumerate(copies) for part in copy.drawn]
    canonical = [part.canonical for _, part in drawn]
    sampled = stages.submit(checks.sample, run, schema, source.parts, canonical)
    conform = [
        stages.submit(checks.conformity, run, schema, part.canonical, part.released, number, part.canonical.part) for number, part in drawn
    ]
    possible = stages.submit(checks.natural_support, run, schema, source.parts)
    fits = _refit(run, stages, source, copies)
    parts = len(source.parts) + len(fits.effects) + 3 * len(conform) + 9 + (not schema.plain)
    with stages.stage("measure effects and distances", parts) as stage:
        sample = stage.wait([sampled])[0]
        support = stage.wait([possible])[0]
        cells = [
            stages.submit(checks.outside_support, run, schema, support, part.canonical, number, part.canonical.part)
            for number, part in drawn
        ]
        laws = stages.submit(checks.compare_laws, run, schema, source.parts, fits.source.nuisances, canonical)
        near = sample.training.rows and sample.holdout.rows
        distances = submit_distances(run, stages, schema, sample)
        isolated = submit_isolated(run, stages, schema, sample)
        covered = stages.submit(distance.cover, run, schema, sample.training, sample.holdout, sample.drawn) if near else None
        joined = None
        if not schema.plain:
            of_first = [part.canonical for part in copies[0].drawn]
            joined = stages.submit(estimation.together, run, schema, fits.source.nuisances, of_first)
        source_effects, released, fidelity, people = _effects(run, stages, stage, source, copies[0], fits)
        watched, approached = approach(run, stages, stage, schema, sample, isolated, [(number, part.canonical) for number, part in drawn])
        measured = Measured(
            source=source_effects,
            release=released[0],
            fidelity=stage.wait([fidelity])[0],
            sample=sample,
            distances=stage.wait([distances])[0] if distances is not None else None,
            conformity=tuple(stage.wait(conform)),
            people=stage.wait([people])[0],
            together=stage.wait([joined])[0] if joined is not None else None,
            coverage=stage.wait([covered])[0] if covered is not None else None,
            laws=stage.wait([laws])[0],
            support=tuple(stage.wait(cells)),
            isolated=watched,
            approaches=approached,
            targetings=tuple(copy.targeting for copy in copies),
            balances=tuple(copy.models.balance for copy in copies if copy.models.balance is not None),
        )
    return measured, released


def _refit(run: Run, stages: Stages, source: Source, copies: Sequence[Copy]) -> Estimation:
    """Cross-fit every copy as a table of its own, and start its estimates."""
    schema = source.described.table
    refits, effects = [], []
    for number, copy in enumerate(copies):
        name = release_name(number)
        title = "estimate on release" + (f", copy {number}" if len(copies) > 1 else "")
        refits.append(cross_fit(run, stages, schema, Table(name, tuple(part.canonical for part in copy.drawn)), title))
        effects.append(stages.submit(estimation.effects, run, schema, refits[-1].table.parts, refits[-1].nuisances, name))
    source_fit = copies[0].fitted
    if len(copies) > 1:  # each copy's fit is a bootstrap draw: the source's own estimate needs equal weights
        source_fit = cross_fit(
            run, stages, schema, Table(SOURCE, source.parts, None, run.spec.mechanisms.known_propensity(schema.arms)), "estimate on source"
        )
    return Estimation(source_fit, tuple(refits), tuple(effects))


def _effects(
    run: Run, stages: Stages, stage: Stage, source: Source, first: Copy, fits: Estimation
) -> tuple[Ref, list[Ref], Future, Future]:
    """Estimate the source's effects, wait for the copies', and start fidelity and effects of people of the first copy."""
    schema, parts, refit = source.described.table, source.parts, fits.refits[0]
    canonical = [part.canonical for part in first.drawn]
    people = stages.submit(estimation.people, run, schema, parts, fits.source.nuisances, canonical, refit.nuisances)
    source_effects = stage.run(estimation.effects, run, schema, parts, fits.source.nuisances, "source")
    transfer = Table("transfer", parts)
    learnt = stage.map(nuisance.average, [(run, schema, transfer, refit.fits, part) for part in parts])
    released = stage.wait(fits.effects)
    anchored = [part.predictions for part in first.anchored]
    drawn = canonical if run.spec.release.mode == "hybrid" else refit.nuisances
    fidelity = stages.submit(estimation.fidelity, run, schema, fits.source.nuisances, anchored, learnt, drawn, released[0])
    return source_effects, released, fidelity, people


def submit_distances(run: Run, stages: Stages, schema: TableSchema, sample: Sample) -> Future | None:
    """Start the search for closest records; None where training rows or holdout are none."""
    if not (sample.training.rows and sample.holdout.rows):
        return None
    parted = (sample.groups.drawn, sample.groups.pools) if sample.groups is not None else ()
    return stages.submit(distance.measure, run, schema, sample.training, sample.holdout, sample.pool, sample.drawn, *parted)


def submit_isolated(run: Run, stages: Stages, schema: TableSchema, sample: Sample) -> Future | None:
    """Start the search for isolated rows; None where training rows or holdout are none."""
    if not (schema.modelled and sample.training.rows and sample.holdout.rows):
        return None
    return stages.submit(distance.isolate, run, schema, sample.training, sample.holdout, sample.pool, sample.counts)


def approach(
    run: Run,
    stages: Stages,
    stage: Stage,
    schema: TableSchema,
    sample: Sample,
    isolated: Future | None,
    drawn: Sequence[tuple[int, PartitionRef]],
) -> tuple[Ref | None, tuple[Ref, ...]]:
    """Measure how near all released rows come to the isolated ones; ``drawn`` holds each canonical part with its copy."""
    if isolated is None:
        return None, ()
    watched = stage.wait([isolated])[0]
    given = (run, schema, sample.training, sample.holdout, sample.pool, watched)
    near = [stages.submit(distance.approach, *given, part, copy, part.part) for copy, part in drawn]
    return watched, tuple(stage.wait(near))
