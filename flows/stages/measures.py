"""Measuring a release: effects, distances, conformity."""

from __future__ import annotations

from collections.abc import Sequence

import tasks.checks.task as checks
import tasks.distance.task as distance
import tasks.estimation.task as estimation
import tasks.nuisance.task as nuisance
from flows.stages.nuisances import cross_fit
from infra.stages import Future, Stages
from infra.workspace import Run
from tasks.checks.measured import Measured, Sample
from tasks.contract.refs import Ref
from tasks.contract.roles import TableSchema
from tasks.mechanisms.task import Copy
from tasks.nuisance.plan import SOURCE, release_name
from tasks.nuisance.task import Table
from tasks.source.task import Source


def measure(run: Run, stages: Stages, source: Source, copies: Sequence[Copy]) -> tuple[Measured, list[Ref]]:
    """Estimate effects on source and release, distances, conformity; also return the effects of every copy."""
    schema = source.described.table
    canonical = [part.canonical for copy in copies for part in copy.drawn]
    sampled = stages.submit(checks.sample, run, schema, source.parts, canonical)
    conform = [
        stages.submit(checks.conformity, run, schema, part.canonical, part.released, number, part.canonical.part)
        for number, copy in enumerate(copies)
        for part in copy.drawn
    ]
    possible = stages.submit(checks.natural_support, run, schema, source.parts)
    refits, effects = [], []
    for number, copy in enumerate(copies):
        name = release_name(number)
        title = "estimate on release" + (f", copy {number}" if len(copies) > 1 else "")
        refits.append(cross_fit(run, stages, schema, Table(name, tuple(part.canonical for part in copy.drawn)), title))
        effects.append(stages.submit(estimation.effects, run, schema, refits[-1].table.parts, refits[-1].nuisances, name))
    first, refit = copies[0], refits[0]
    source_fit = first.fitted
    if len(copies) > 1:  # each copy's fit is a bootstrap draw: the source's own estimate needs equal weights
        source_fit = cross_fit(run, stages, schema, Table(SOURCE, source.parts, None, run.spec.mechanisms.propensity), "estimate on source")
    with stages.stage("measure effects and distances", len(source.parts) + len(effects) + 2 * len(conform) + 8) as stage:
        sample = stage.wait([sampled])[0]
        support = stage.wait([possible])[0]
        cells = [
            stages.submit(checks.outside_support, run, schema, support, part.canonical, number, part.canonical.part)
            for number, copy in enumerate(copies)
            for part in copy.drawn
        ]
        laws = stages.submit(checks.compare_laws, run, schema, source.parts, source_fit.nuisances, canonical)
        near = sample.training.rows and sample.holdout.rows
        distances = submit_distances(run, stages, schema, sample)
        covered = stages.submit(distance.cover, run, schema, sample.training, sample.holdout, sample.drawn) if near else None
        canonical_first = [part.canonical for part in first.drawn]
        people = stages.submit(estimation.people, run, schema, source.parts, source_fit.nuisances, canonical_first, refit.nuisances)
        source_effects = stage.run(estimation.effects, run, schema, source.parts, source_fit.nuisances, "source")
        transfer = Table("transfer", source.parts)
        learnt = stage.map(nuisance.average, [(run, schema, transfer, refit.fits, part) for part in source.parts])
        released = stage.wait(effects)
        anchored = [part.predictions for part in first.anchored]
        drawn = canonical_first if run.spec.release.mode == "hybrid" else [refit.nuisances]
        fidelity = stages.submit(estimation.fidelity, run, schema, source_fit.nuisances, anchored, learnt, drawn, released[0])
        measured = Measured(
            source=source_effects,
            release=released[0],
            fidelity=stage.wait([fidelity])[0],
            sample=sample,
            distances=stage.wait([distances])[0] if distances is not None else None,
            conformity=tuple(stage.wait(conform)),
            people=stage.wait([people])[0],
            coverage=stage.wait([covered])[0] if covered is not None else None,
            laws=stage.wait([laws])[0],
            support=tuple(stage.wait(cells)),
            targetings=tuple(copy.targeting for copy in copies),
            balances=tuple(copy.models.balance for copy in copies if copy.models.balance is not None),
        )
    return measured, released


def submit_distances(run: Run, stages: Stages, schema: TableSchema, sample: Sample) -> Future | None:
    """Start the search for closest records; None where training rows or holdout are none."""
    if not (sample.training.rows and sample.holdout.rows):
        return None
    parted = (sample.groups.drawn, sample.groups.pools) if sample.groups is not None else ()
    return stages.submit(distance.measure, run, schema, sample.training, sample.holdout, sample.pool, sample.drawn, *parted)
