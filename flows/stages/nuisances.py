"""Cross-fitting the treatment and the outcome of a table."""

from __future__ import annotations

from collections.abc import Sequence

import tasks.nuisance.task as nuisance
from infra.stages import Stages
from infra.workspace import Run
from tasks.contract.roles import TableSchema
from tasks.nuisance.task import Fitted, FoldFit, Table


def cross_fit(run: Run, stages: Stages, schema: TableSchema, table: Table, title: str) -> Fitted:
    """Cross-fit g, Q0 and Q1 of a table as the SPEC's ``mechanisms`` say."""
    folds, repeats = range(run.spec.mechanisms.folds), range(run.spec.repeats(table.rows))
    with stages.stage(title, len(repeats) * (len(folds) + 1)) as stage:
        assigned = stage.map(nuisance.folds, [(run, schema, table, repeat) for repeat in repeats])
        fits = stage.map(nuisance.fit, [(run, schema, table, assigned[repeat], repeat, fold) for repeat in repeats for fold in folds])
    if nuisance.refines(run, schema, table):
        grouped = [[fit for fit in fits if fit.repeat == repeat] for repeat in repeats]
        fits = [fit for batch in grouped for fit in _refine(run, stages, schema, table, batch, title)]
    predicting = [(run, schema, table, fits, number) for number in range(len(table.parts))]
    predicted = stages.map(f"{title}: predict", nuisance.predict, predicting, [part.rows for part in table.parts])
    return Fitted(table, tuple(predicted), fits)


def _refine(run: Run, stages: Stages, schema: TableSchema, table: Table, fits: Sequence[FoldFit], title: str) -> list[FoldFit]:
    """Go on from models of a sample to models of all rows, one partition in memory at a time."""
    state, number, done = None, 0, False
    while not done:
        number += 1
        with stages.stage(f"{title}: pass {number} over all rows", len(table.parts) + 1) as stage:
            visiting = [(run, schema, table, fits, number, state, part) for part in table.parts]
            visited = stage.map(nuisance.visit, visiting, [part.rows for part in table.parts])
            state, done = stage.run(nuisance.advance, run, schema, table, fits, number, state, visited)
    kept: list[FoldFit] = stages.run(f"{title}: keep", nuisance.refined, run, schema, table, fits, state)
    return kept
