"""The simulate flow: estimators tried on data like the source, under a law whose effect is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefect import flow

import tasks.simulation.task as simulation
from flows.making import carry_out, make_copy, profile_line, read_source
from infra.cluster import gather
from infra.logging import Stages
from infra.workspace import Run
from tasks.contract.refs import ModelRef, PartitionRef
from tasks.contract.registry import resolve
from tasks.contract.roles import TableSchema
from tasks.contract.spec import Spec
from tasks.mechanisms.draw import design_probability
from tasks.publish.layout import simulation_key
from tasks.simulation.batches import ROUND, batches, enough, joined
from tasks.simulation.grid import cells
from tasks.simulation.page import headlines
from tasks.simulation.performance import Tally
from tasks.simulation.seconds import WHOLE, Seconds
from tasks.simulation.seconds import joined as joined_seconds
from tasks.simulation.task import Batch

PART_ROWS = 25_000


@flow(name="simulate", flow_run_name="simulate {spec.name}", log_prints=False)
def simulate(spec: Spec) -> dict[str, Any]:
    """Try estimators on a law fitted to the source; keep the figures in the store.

    Parameters
    ----------
    spec : Spec
        Its section ``simulate`` says what.

    Returns
    -------
    dict
        ``{"uri", "truth", "truth_se", "rows", "ranking", "recommendation", ...}``.

    Raises
    ------
    WaymintError
        SpecError, SourceError, EstimationError, StoreError: see docs/errors.md.
    """
    return carry_out(spec, "simulate", replicate, check=_early_checks)


def _early_checks(run: Run) -> None:
    """Tell what is wrong with names and parameters before any work is done."""
    resolve("synthesizer", run.spec.covariates.synthesizer, run.spec.covariates.params)
    resolve("learner", run.spec.mechanisms.learner, run.spec.mechanisms.params)
    simulation.check(run.spec)


@flow(name="replicate", flow_run_name="replicate {run.spec.name}", validate_parameters=False)
def replicate(run: Run) -> dict[str, Any]:
    """Do the work of one simulation on the run's task runner; returns the reply."""
    stages, spec, timeout = Stages.current(), run.spec, run.spec.engine.timeout
    found = read_source(run, stages)
    schema = found.described.table
    stages.note(profile_line(found.described.profile, schema))
    laws = [_law(run, stages, schema, found.parts, draw) for draw in range(1 + spec.simulate.draws)]
    done = _own(run, stages, laws[0])
    done += _refits(run, stages, laws, done)
    with stages.stage("measure estimators") as stage:
        measured = gather([simulation.measure.submit(run, laws, done, design_probability)], stage, timeout)[0]
    about = {"uri": found.plan.uri, "fingerprint": found.plan.fingerprint, "rows": schema.rows}
    record = simulation.reply(run, measured, about)
    folder = simulation_key(spec.name, run.id, "simulate.json").rpartition("/")[0]
    with stages.stage("keep figures and report"):
        uri = simulation.keep(run, measured, folder, record)
    shown_fields = ("truth", "truth_se", "rows", "ranking", "recommendation", "stability", "same_winner", "speed")
    return {"uri": uri} | {name: record[name] for name in shown_fields}


def _law(run: Run, stages: Stages, schema: TableSchema, parts: Sequence[PartitionRef], draw: int) -> ModelRef:
    """Fit the hybrid model and draw the rows that data sets are sampled from: 0 is the source's own, others are bootstrap draws of it."""
    asked, spec = run.spec.simulate, run.spec
    # more than one copy is what makes a fit a Bayesian-bootstrap draw
    copies = 1 if draw == 0 else 1 + asked.draws
    given = {"rows": asked.pool, "part_rows": PART_ROWS, "copies": copies, "mode": "hybrid", "draws": "iid", "include_nuisances": False}
    own = spec.model_copy(
        update={
            "release": spec.release.model_copy(update=given),
            "mechanisms": spec.mechanisms.model_copy(update={"treatment": "fitted"}),
        }
    )
    made = make_copy(run.model_copy(update={"spec": own}), stages, schema, parts, draw)
    drawn = [part.canonical for part in made.drawn]
    with stages.stage("lay out law" if draw == 0 else f"lay out law of draw {draw}") as stage:
        laying = simulation.lay_out.submit(run, schema, made.models.mechanisms, drawn, draw, design_probability)
        law: ModelRef = gather([laying], stage, spec.engine.timeout)[0]
        return law


def _own(run: Run, stages: Stages, law: ModelRef) -> list[Batch]:
    """Run replicates under the source's own law, round by round, until every cell has enough."""
    asked, grid = run.spec.simulate, cells(run.spec.simulate)
    done: list[Batch] = []
    counts = dict.fromkeys(range(len(grid)), 0)
    sums: dict[int, dict[str, Tally]] = {number: {} for number in counts}
    waiting = list(counts)
    while waiting:
        work = [
            each
            for number in waiting
            for each in batches(number, grid[number], 0, counts[number], min(counts[number] + ROUND, asked.replicates))
        ]
        with stages.stage(f"simulate: {len(waiting)} of {len(grid)} cells, replicates from {counts[waiting[0]]}", len(work)) as stage:
            found = gather(
                [simulation.simulate.submit(run, law, each, design_probability) for each in work], stage, run.spec.engine.timeout
            )
        for batch in found:
            counts[batch.work.cell] += batch.work.replicates
            sums[batch.work.cell] = joined(sums[batch.work.cell], batch.tallies)
        done += found
        waiting = [number for number in waiting if not enough(sums[number], counts[number], asked)]
        _expect(run, stages, done, {number: asked.replicates - counts[number] for number in waiting})
    return done


def _refits(run: Run, stages: Stages, laws: Sequence[ModelRef], own: Sequence[Batch]) -> list[Batch]:
    """Run as many replicates again, shared out among the refits on bootstrap draws."""
    draws, grid = len(laws) - 1, cells(run.spec.simulate)
    if not draws:
        return []
    counts = [-(-sum(batch.work.replicates for batch in own if batch.work.cell == number) // draws) for number in range(len(grid))]
    work = [
        each for draw in range(1, 1 + draws) for number, cell in enumerate(grid) for each in batches(number, cell, draw, 0, counts[number])
    ]
    with stages.stage(f"simulate under {draws} bootstrap draws", len(work)) as stage:
        running = [simulation.simulate.submit(run, laws[each.draw], each, design_probability) for each in work]
        return gather(running, stage, run.spec.engine.timeout)


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
    columns = f"{'estimator':<12}{'bias':>10}{'rmse':>10}{'coverage':>10}{'width':>10}{'power':>8}{'failed':>8}{'runs':>7}"
    lines, cell = [f"true effect (ATE) of the fitted law: {reply['truth']:.5g} (Monte-Carlo SE {reply['truth_se']:.2g})"], None
    for row in reply["rows"]:
        if row["title"] != cell:
            cell = row["title"]
            lines += ["", cell, columns]
        shown_as = "–" if row["rmse"] is None else ""
        numbers = (
            f"{shown_as:>10}" * 4 + f"{shown_as:>8}"
            if shown_as
            else f"{row['bias']:>10.4g}{row['rmse']:>10.4g}{row['coverage']:>10.3f}{row['ci_width']:>10.4g}{row['power']:>8.2f}"
        )
        lines.append(f"{row['estimator']:<12}{numbers}{row['failures']:>8.1%}{row['replicates']:>7}")
    return [*lines, "", *headlines(reply), "", f"report    {reply['uri']}/simulate.html"]
