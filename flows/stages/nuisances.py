"""Cross-fitting the treatment and the outcome of a table."""

from __future__ import annotations

from collections.abc import Sequence

import tasks.mechanisms.task as mechanisms
from infra.cluster import gather
from infra.logging import Stages
from infra.workspace import Run
from tasks.contract.refs import PartitionRef
from tasks.contract.roles import TableSchema
from tasks.mechanisms.task import Fitted, FoldFit, Table


def cross_fit(run: Run, stages: Stages, schema: TableSchema, table: Table, title: str) -> Fitted:
    """Cross-fit g, Q0 and Q1 of a table as the SPEC's ``mechanisms`` say."""
    timeout = run.spec.engine.timeout
    folds, repeats = range(run.spec.mechanisms.folds), range(run.spec.repeats(table.rows))
    with stages.stage(title, len(repeats) * (len(folds) + 1)) as stage:
        assigned = gather([mechanisms.folds.submit(run, schema, table, repeat) for repeat in repeats], stage, timeout)
        pairs = [(repeat, fold) for repeat in repeats for fold in folds]
        fits = gather([mechanisms.fit.submit(run, schema, table, assigned[repeat], repeat, fold) for repeat, fold in pairs], stage, timeout)
    if mechanisms.refines(run, table):
        grouped = [[fit for fit in fits if fit.repeat == repeat] for repeat in repeats]
        fits = [fit for own, folded in zip(grouped, assigned) for fit in _refine(run, stages, schema, table, folded, own, title)]
    with stages.stage(f"{title}: collect") as stage:
        nuisances = gather([mechanisms.collect.submit(run, table, assigned[0], fits)], stage, timeout)[0]
    return Fitted(table, nuisances, fits)


def _refine(
    run: Run, stages: Stages, schema: TableSchema, table: Table, assigned: PartitionRef, fits: Sequence[FoldFit], title: str
) -> list[FoldFit]:
    """Go on from models of a sample to models of all rows, one partition in memory at a time."""
    timeout, state, number, done = run.spec.engine.timeout, None, 0, False
    while not done:
        number += 1
        with stages.stage(f"{title}: pass {number} over all rows", len(table.parts) + 1) as stage:
            visiting = [mechanisms.visit.submit(run, schema, table, assigned, fits, number, state, part) for part in table.parts]
            visited = gather(visiting, stage, timeout)
            ending = mechanisms.advance.submit(run, schema, table, fits, number, state, visited)
            state, done = gather([ending], stage, timeout)[0]
    with stages.stage(f"{title}: predict", len(fits)) as stage:
        keeping = [mechanisms.refined.submit(run, schema, table, assigned, fits, state, fold) for fold in range(len(fits))]
        return gather(keeping, stage, timeout)
