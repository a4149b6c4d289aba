"""Tasks of the simulation step: lay out the law, run replicates, measure, keep."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from infra.cluster import coarse
from infra.store import open_store, put_report
from infra.workspace import Run
from tasks.contract.errors import SpecError
from tasks.contract.nuisance import FoldedLearner
from tasks.contract.refs import ModelRef, PartitionRef, Ref
from tasks.contract.registry import resolve
from tasks.contract.roles import TableSchema
from tasks.contract.spec import Spec
from tasks.mechanisms.survival_model import TimesMechanisms
from tasks.simulation.advice import advice
from tasks.simulation.answers import tallies, to_table
from tasks.simulation.batches import Work, estimators_of, unadjusted_of
from tasks.simulation.clustered import ClusterPopulation, cluster_population
from tasks.simulation.contrasts import TWINS, Effect, Series, group_key
from tasks.simulation.figures import figures, places
from tasks.simulation.figures import to_table as to_metrics
from tasks.simulation.grid import Cell, cells
from tasks.simulation.page import render
from tasks.simulation.performance import Tally
from tasks.simulation.population import Population, Source, Truth, population_of, source_of, truths
from tasks.simulation.published import Published, law_of, rows_of
from tasks.simulation.replicate import Method, replicates
from tasks.simulation.request import FromRelease
from tasks.simulation.seconds import WHOLE, Seconds, joined, seconds
from tasks.simulation.sizes import sizes
from tasks.simulation.stability import same_winner, stability
from tasks.simulation.study import StudyPopulation, study_population
from tasks.simulation.survival import times_population
from tasks.targeting.estimators import OBSERVED


class Batch(NamedTuple):
    """Some replicates: their answers, what they add up to, and the CPU seconds they took (empty for those of a killed run)."""

    work: Work
    answers: PartitionRef
    tallies: dict[Series, Tally]
    seconds: dict[str, Seconds]


class Results(NamedTuple):
    """The record of a simulation (JSON) and its tables (Parquet)."""

    record: Ref
    replicates: PartitionRef
    metrics: PartitionRef


@coarse("lay out law", "lay out the law of draw {draw}")
def lay_out(
    run: Run, schema: TableSchema, mechanisms: ModelRef, drawn: Sequence[PartitionRef], draw: int, clusters: ModelRef | None = None
) -> ModelRef:
    """Put together what data sets are sampled from: drawn, calibrated covariate rows with their nuisances, and the law of Y around Q*.

    Raises
    ------
    SpecError
        If a cell of the grid is not possible with this source.
    """
    space = run.space()
    key = f"simulate/law-{draw}.model"
    if (done := space.finished(key, ModelRef)) is not None:
        return done
    table = pa.concat_tables([space.table(part) for part in drawn]).unify_dictionaries()
    model = space.model(mechanisms)
    if isinstance(model, TimesMechanisms):
        return space.put_model(key, _possible(run.spec, times_population(schema, table, model, run.spec.mechanisms)))
    if clusters is not None:
        return space.put_model(key, _possible(run.spec, cluster_population(schema, table, model, space.model(clusters), run.spec)))
    if not schema.plain:
        return space.put_model(key, _possible(run.spec, study_population(schema, table, model, run.spec)))
    population = population_of(schema, table, model.law, run.spec.mechanisms, run.spec.outcome.range)
    return space.put_model(key, _possible(run.spec, population))


@coarse("read law", "read the law of copy {law_files.copy}")
def read_law(run: Run, schema: TableSchema, law_files: Published) -> ModelRef:
    """Put together what data sets are sampled from, from the files of a release that kept its mechanisms; nothing is fitted.

    Raises
    ------
    SpecError
        If a cell of the grid is not possible with this release.
    StoreError
        If a file is not what the release's manifest says.
    """
    space, spec, store = run.space(), run.spec, open_store(law_files.store)
    key = f"simulate/law-{law_files.copy}.model"
    if (done := space.finished(key, ModelRef)) is not None:
        return done
    table = rows_of(store, law_files, schema, spec.simulate.pool)
    law = law_of(store, law_files)
    return space.put_model(key, _possible(spec, population_of(schema, table, law, spec.mechanisms, law_files.outcome_range)))


def _possible(spec: Spec, population: Population) -> Population:
    """Return a law under which every cell of the grid is possible; raise for any other."""
    for cell in cells(spec.simulate):
        source_of(population, cell)
    return population


@coarse("simulate", "simulate cell {work.cell}, draw {work.draw}, replicates from {work.first}")
def simulate(run: Run, law: ModelRef, work: Work) -> Batch:
    """Run some replicates of one cell."""
    space, spec = run.space(), run.spec
    cell = cells(spec.simulate)[work.cell]
    key = f"simulate/{cell.key}/draw-{work.draw}/{work.first:07d}-{work.replicates}.parquet"
    population: Population = space.model(law)
    source = source_of(population, cell)
    done, spent = space.finished(key, PartitionRef), {}
    if done is None:
        method, numbers = method_of(spec, cell, population.kind), range(work.first, work.first + work.replicates)
        if isinstance(method.learner, FoldedLearner):
            # its compiled code is loaded before the clock runs
            replicates(source, method, cell, spec.seed, work.draw, numbers[:1])
        outcomes = replicates(source, method, cell, spec.seed, work.draw, numbers)
        done, spent = space.put_table(key, to_table(cell.key, work.draw, outcomes)), seconds(outcomes)
    return Batch(work, done, tallies(space.table(done), truths(source)), spent)


def method_of(spec: Spec, cell: Cell, kind: str) -> Method:
    """Return how a cell's data sets are analysed."""
    settings = spec.simulate
    estimators = {name: resolve("estimator", name) for name in estimators_of(settings, spec.roles.missing_outcome)}
    learner_params = spec.mechanisms.params if cell.learner == spec.mechanisms.learner else None
    params = settings.params.get(cell.learner, learner_params)
    plain = unadjusted_of(settings, kind, kind == "survival" and spec.outcome.cause is not None)
    return Method(resolve("learner", cell.learner, params), estimators, settings.folds, spec.mechanisms.truncation, plain)


@coarse("measure estimators", "measure estimators")
def measure(run: Run, laws: Sequence[ModelRef], batches: Sequence[Batch]) -> Results:
    """Turn all replicates into figures, ranking, stability over refits and advice."""
    space, spec = run.space(), run.spec
    grid = cells(spec.simulate)
    tables, rows, winners, truth_of, ranked = [], [], [], [], []
    for draw, law in enumerate(laws):
        of_draw = sorted((batch for batch in batches if batch.work.draw == draw), key=lambda batch: (batch.work.cell, batch.work.first))
        table = pa.concat_tables([space.table(batch.answers) for batch in of_draw])
        sources = [source_of(space.model(law), cell) for cell in grid]
        truth_of.append([truths(source) for source in sources])
        tables.append(table)
        rows.append(figures(table, grid, truth_of[-1]))
        ranked.append(places(table, grid, truth_of[-1], spec.seed))
        of_ate = [place for place in ranked[-1] if place["estimand"] == "ate" and place["estimator"] not in TWINS]
        winners.append({group_key(place): place["estimator"] for place in reversed(of_ate)})
    flat = [{"draw": draw, **row} for draw, of_draw in enumerate(rows) for row in of_draw]
    answers = space.put_table("simulate/replicates.parquet", pa.concat_tables(tables))
    metrics = space.put_table("simulate/metrics.parquet", to_metrics(flat))
    _add_seconds(rows[0], grid, batches)
    advised = [row for row in rows[0] if row["estimator"] not in TWINS]
    record = {
        "format": "waymint-simulation/1",
        "rows": rows[0],
        "ranking": ranked[0],
        "recommendation": advice(advised, spec.simulate.power),
        "sizes": sizes(advised, spec.simulate.power),
        "stability": stability(rows[0], rows[1:]) if len(rows) > 1 else [],
        "same_winner": same_winner(winners[0], winners[1:]),
        "truths": [_truth_of(space.model(law), grid[0]) for law in laws],
        **_outcomes_of(space.model(laws[0]), grid[0]),
        "pool": len(space.model(laws[0]).covariates),
        "speed": _speed(batches),
    }
    body = json.dumps(record, allow_nan=False).encode()
    return Results(space.put_bytes("simulate/record.json", body), answers, metrics)


def _truth_of(population: Population, cell: Cell) -> dict[str, float]:
    """Return the ATE that the fitted law carries, whatever effects the grid scales it to; of more than two arms of the first contrast."""
    source: Source = source_of(population, cell._replace(effect_scale=1.0))
    truth: Truth = truths(source)[Effect("ate", population.compared()[0])]
    return truth._asdict()


def _outcomes_of(population: Population, cell: Cell) -> dict[str, Any]:
    """Return what the law says of clusters; of several outcomes, or one that some rows lack, each one's ATE and share of missing cells.

    So of the numbers of a cause that competes.
    """
    if isinstance(population, ClusterPopulation):
        return {"clusters": population.facts}
    if not isinstance(population, StudyPopulation) and len(population.names) == 1:
        return {}
    source = source_of(population, cell._replace(effect_scale=1.0))
    effects = truths(source)
    contrasts = {contrast.outcome: contrast for contrast in reversed(population.compared())}
    if isinstance(population, StudyPopulation):
        titles = [(one.outcome.name, one.kind) for one in population.each]
        missing = population.missing_shares(source.nuisances)
    else:
        titles, missing = [(str(name), population.kind) for name in population.names], [0.0] * len(population.names)
    return {
        "outcomes": [
            {"outcome": title, "kind": kind, **_named(effects[Effect("ate", contrasts[name])]), "missing": share}
            for name, (title, kind), share in zip(population.names, titles, missing, strict=True)
        ]
    }


def _named(truth: Truth) -> dict[str, float]:
    return {"truth": truth.value, "truth_se": truth.se}


def _add_seconds(rows: list[dict[str, Any]], grid: Sequence[Cell], batches: Sequence[Batch]) -> None:
    """Add the CPU seconds of each estimator: cross-fitting, which all share, and its own."""
    spent = {cell.key: joined(b.seconds for b in batches if grid[b.work.cell] == cell and b.work.draw == 0) for cell in grid}
    for row in rows:
        row["seconds"], row["seconds_mcse"] = spent[row["cell"]].get(row["estimator"], Seconds()).mean


def _speed(batches: Sequence[Batch]) -> dict[str, Any]:
    """Return replicates run and CPU seconds of one, over all cells."""
    whole = joined(batch.seconds for batch in batches).get(WHOLE, Seconds())
    return {"replicates": sum(batch.work.replicates for batch in batches), "timed": whole.timed, "seconds": whole.mean.value}


def reply(run: Run, results: Results, source: Mapping[str, Any], cautions: Sequence[str] = ()) -> dict[str, Any]:
    """Return what ``simulate.json`` holds; without the seconds, equal runs give equal figures.

    Parameters
    ----------
    run : Run
    results : Found
        Of :func:`measure`.
    source : mapping
        ``uri``, ``fingerprint`` and ``rows`` of the source; of a release the SHA-256 of its manifest, rows of a copy, and ``copies``.
    cautions : sequence of str
        What can't be known from it.
    """
    record: dict[str, Any] = json.loads(run.space().read(results.record.key))
    spec = run.spec
    return {
        **record,
        "name": spec.name,
        "id": run.id,
        "created": run.created,
        "seed": spec.seed,
        "source": dict(source),
        "parents": [spec.parent.model_dump()] if isinstance(spec, FromRelease) else [],
        "cautions": list(cautions),
        "spec": spec.model_dump(mode="json", exclude={"parent"}),
        "truth": record["truths"][0]["value"],
        "truth_se": record["truths"][0]["se"],
    }


def keep(run: Run, results: Results, folder: str, record: dict[str, Any]) -> str:
    """Write report, figures and replicates below a folder of the store; return the folder's URI.

    Parameters
    ----------
    run : Run
    results : Found
        Of :func:`measure`.
    folder : str
        Key prefix without a slash at its end.
    record : dict
        Of :func:`reply`.
    """
    store, space = open_store(run.spec.store.uri, options=run.spec.store), run.space()
    for name, ref in (("replicates.parquet", results.replicates), ("metrics.parquet", results.metrics)):
        store.put(f"{folder}/{name}", space.read(ref.key))
    return put_report(store, folder, "simulate", render(record), record)


def check(spec: Spec) -> None:
    """Refuse names of learners and estimators that are not known, before any work is done.

    Raises
    ------
    SpecError
        With the nearest known name, or for an estimator that needs subgroups.
    """
    for cell in cells(spec.simulate)[:1]:
        for learner in spec.simulate.learners:
            # a release's own manifest says what its outcome is
            method_of(spec, cell._replace(learner=learner), "survival" if isinstance(spec, FromRelease) else spec.outcome.kind)
    names = estimators_of(spec.simulate, spec.roles.missing_outcome)
    others = [name for name in names if name not in OBSERVED]
    if others and spec.roles.missing_outcome == "ipcw":
        raise SpecError(
            f"estimators of simulate must be among {', '.join(OBSERVED)} where outcomes are missing; got '{others[0]}'.",
            'Leave it out, or leave the rows out: roles.missing_outcome = "drop".',
        )
    if "gate" in names:
        raise SpecError("estimators of simulate must be of the whole table; got 'gate'.", "Simulate the subgroup's rows as a source.")
