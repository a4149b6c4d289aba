"""The simulate flow: estimators tried on data like the source, under a law whose effect is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from prefect import flow

import tasks.simulation.task as simulation
from flows.stages.copies import check_models, make_copy, resolve_synthesizer
from flows.stages.precheck import check_sizes
from flows.stages.runs import carry_out
from flows.stages.simulations import cautions, published, resolve_source
from flows.stages.source import read_source
from infra.stages import Stages
from infra.store import open_store, split_release_uri
from infra.workspace import Run
from tasks.contract.refs import ModelRef, PartitionRef
from tasks.contract.roles import TableSchema
from tasks.contract.spec import Spec
from tasks.publish.layout import simulation_key
from tasks.publish.manifest import Manifest
from tasks.simulation.batches import ROUND, batches, enough, joined
from tasks.simulation.contrasts import Series
from tasks.simulation.grid import cells
from tasks.simulation.performance import Tally
from tasks.simulation.reading import lines
from tasks.simulation.seconds import WHOLE, Seconds
from tasks.simulation.seconds import joined as joined_seconds
from tasks.simulation.task import Batch
from tasks.source.profile import profile_line

PART_ROWS = 25_000
#: What the reply shows of the record.
SHOWN = (
    "truth", "truth_se", "source", "parents", "cautions", "rows", "ranking", "recommendation", "sizes", "stability", "same_winner", "speed",
)  # fmt: skip


class Laws(NamedTuple):
    """Laws to simulate under, the source's own first; what the record says of the source; what can't be known from it."""

    laws: list[ModelRef]
    about: dict[str, Any]
    cautions: list[str]


@flow(name="simulate", flow_run_name="simulate {spec.name}", log_prints=False)
def simulate(spec: Spec) -> dict[str, Any]:
    """Try estimators on a law fitted to the source; keep the figures in the store.

    Parameters
    ----------
    spec : Spec
        Its section ``simulate`` says what. Its source is a table, or a release that kept its mechanisms.

    Returns
    -------
    dict
        ``{"uri", "truth", "truth_se", "rows", "ranking", "recommendation", ...}``.

    Raises
    ------
    WaymintError
        SpecError, SourceError, EstimationError, StoreError: see docs/errors.md.
    """
    resolved, manifest = resolve_source(spec)
    return carry_out(resolved, "simulate", replicate, manifest, check=_early_checks)


def _early_checks(run: Run) -> None:
    """Tell what is wrong with names and parameters before any work is done."""
    check_models(run)
    simulation.check(run.spec)


@flow(name="replicate", flow_run_name="replicate {run.spec.name}", validate_parameters=False)
def replicate(run: Run, manifest: Manifest | None) -> dict[str, Any]:
    """Do the work of one simulation on the run's task runner; returns the reply."""
    stages, spec = Stages.current(), run.spec
    laws, about, notes = _fitted(run, stages) if manifest is None else _published(run, stages, manifest)
    for caution in notes:
        stages.warn(caution)
    done = _simulate_law(run, stages, laws[0])
    done += _refits(run, stages, laws, done)
    measured = stages.run("measure estimators", simulation.measure, run, laws, done)
    record = simulation.reply(run, measured, about, notes)
    folder = simulation_key(spec.name, run.id, "simulate.json").rpartition("/")[0]
    with stages.stage("keep figures and report"):
        uri = simulation.keep(run, measured, folder, record)
    return {"uri": uri} | {name: record[name] for name in (*SHOWN, "outcomes", "clusters") if name in record}


def _fitted(run: Run, stages: Stages) -> Laws:
    """Fit the laws to a table."""
    source = read_source(run, stages, "simulate")
    schema = source.described.table
    small = check_sizes(run.spec, schema.units, source.described.profile.arms, "simulate")
    run = resolve_synthesizer(run, schema)
    stages.note(profile_line(source.described.profile, schema))
    for warning in source.described.warnings:
        stages.warn(warning)
    laws = [_law(run, stages, schema, source.parts, draw) for draw in range(1 + run.spec.simulate.draws)]
    return Laws(laws, {"uri": source.plan.uri, "fingerprint": source.plan.fingerprint, "rows": schema.rows}, [*small])


def _published(run: Run, stages: Stages, manifest: Manifest) -> Laws:
    """Read the laws of a release: copies beyond the first are draws of the model, which a bootstrap of the source would be fitted for."""
    spec, schema = run.spec, TableSchema.model_validate(manifest.table)
    where, name, _ = split_release_uri(spec.source.uri)
    store = open_store(where).uri
    copies = [published(manifest, store, copy) for copy in range(min(1 + spec.simulate.draws, manifest.spec["release"]["copies"]))]
    reading = [(run, schema, copy) for copy in copies]
    laws: list[ModelRef] = stages.map(f"read law of {name} version {manifest.version}", simulation.read_law, reading)
    rows = sum(part.rows or 0 for part in copies[0].parts)
    about = {
        "uri": f"{store}/{name}@{manifest.version}",
        "fingerprint": manifest.sha256(),
        "rows": rows,
        "copies": manifest.spec["release"]["copies"],
    }
    return Laws(laws, about, cautions(spec, manifest, min(rows, spec.simulate.pool)))


def _law(run: Run, stages: Stages, schema: TableSchema, parts: Sequence[PartitionRef], draw: int) -> ModelRef:
    """Fit the hybrid model and draw the rows that data sets are sampled from: 0 is the source's own, others are bootstrap draws of it."""
    settings, spec = run.spec.simulate, run.spec
    # more than one copy is what makes a fit a Bayesian-bootstrap draw
    copies = 1 if draw == 0 else 1 + settings.draws
    given = {"rows": settings.pool, "part_rows": PART_ROWS, "copies": copies, "mode": "hybrid", "draws": "iid", "include_nuisances": False}
    law_spec = spec.model_copy(
        update={
            "release": spec.release.model_copy(update=given),
            "mechanisms": spec.mechanisms.model_copy(update={"treatment": "fitted"}),
        }
    )
    copy_made = make_copy(run.model_copy(update={"spec": law_spec}), stages, schema, parts, draw)
    drawn = [part.canonical for part in copy_made.drawn]
    title = "lay out law" if draw == 0 else f"lay out law of draw {draw}"
    law: ModelRef = stages.run(title, simulation.lay_out, run, schema, copy_made.models.mechanisms, drawn, draw, copy_made.models.clusters)
    return law


def _simulate_law(run: Run, stages: Stages, law: ModelRef) -> list[Batch]:
    """Run replicates under the source's own law, round by round, until every cell has enough."""
    settings, grid = run.spec.simulate, cells(run.spec.simulate)
    done: list[Batch] = []
    counts = dict.fromkeys(range(len(grid)), 0)
    sums: dict[int, dict[Series, Tally]] = {number: {} for number in counts}
    waiting = list(counts)
    while waiting:
        work = [
            each
            for number in waiting
            for each in batches(number, grid[number], 0, counts[number], min(counts[number] + ROUND, settings.replicates))
        ]
        title = f"simulate: {len(waiting)} of {len(grid)} cells, replicates from {counts[waiting[0]]}"
        simulated: list[Batch] = stages.map(title, simulation.simulate, [(run, law, each) for each in work])
        for batch in simulated:
            counts[batch.work.cell] += batch.work.replicates
            sums[batch.work.cell] = joined(sums[batch.work.cell], batch.tallies)
        done += simulated
        waiting = [number for number in waiting if not enough(sums[number], counts[number], settings)]
        _expect(run, stages, done, {number: settings.replicates - counts[number] for number in waiting})
    return done


def _refits(run: Run, stages: Stages, laws: Sequence[ModelRef], simulated: Sequence[Batch]) -> list[Batch]:
    """Run as many replicates again, shared out among the refits on bootstrap draws."""
    draws, grid = len(laws) - 1, cells(run.spec.simulate)
    if not draws:
        return []
    counts = [-(-sum(batch.work.replicates for batch in simulated if batch.work.cell == number) // draws) for number in range(len(grid))]
    work = [
        each for draw in range(1, 1 + draws) for number, cell in enumerate(grid) for each in batches(number, cell, draw, 0, counts[number])
    ]
    running = [(run, laws[each.draw], each) for each in work]
    return stages.map(f"simulate under {draws} bootstrap draws", simulation.simulate, running)


def _expect(run: Run, stages: Stages, done: Sequence[Batch], left: dict[int, int]) -> None:
    """Tell how long the rest takes at most, going by the CPU seconds of the replicates that are done."""
    seconds = 0.0
    for number, count in left.items():
        spent = joined_seconds(batch.seconds for batch in done if batch.work.cell == number).get(WHOLE, Seconds())
        seconds += count * (spent.mean.value or 0.0)
    if seconds:
        minutes = seconds / run.spec.engine.workers / 60.0
        stages.note(f"simulate: {len(left)} cells need more replicates, at most {minutes:.1f} minutes on {run.spec.engine.workers} workers")


def describe(reply: dict[str, Any]) -> list[str]:
    """Return the lines a user reads at the end of a simulation."""
    return lines(reply)
