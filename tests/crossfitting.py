"""Every way of carrying out a plan of cross-fitting, for tests that hold them against one another."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from infra.workspace import Run, Workspace
from tasks.contract.columns import nuisances_of
from tasks.contract.frames import to_frame
from tasks.contract.nuisance import FoldedLearner, Nuisances
from tasks.contract.refs import PartitionRef
from tasks.contract.registry import resolve
from tasks.contract.roles import TableSchema
from tasks.contract.spec import parse_spec
from tasks.nuisance import task
from tasks.nuisance.crossfit import InMemory, Rows, fit_folds, predict_folds
from tasks.nuisance.plan import Plan
from tasks.nuisance.task import Fitted, Table

FOLDS = 3
SEED = 11


class World(NamedTuple):
    """A canonical table, as a run's workspace holds it, and its schema."""

    table: pa.Table
    schema: TableSchema

    @property
    def frame(self) -> pd.DataFrame:
        return to_frame(self.table, self.schema.modelled)

    @property
    def rows(self) -> Rows:
        keys, a, y = (self.table.column(name).to_numpy() for name in ("key", "a", "y"))
        return Rows(keys, a.astype(np.int8), y.astype(np.float64), self.schema.outcome_kind)

    def with_noise(self, at: np.ndarray) -> World:
        """Replace treatment and outcome of some rows by noise: what a model that has not seen them can't notice."""
        rng = np.random.default_rng(99)
        a, y = self.rows.a.copy(), self.rows.y.copy()
        a[at] = rng.random(int(at.sum())) < 0.5
        y[at] = rng.random(int(at.sum())) < 0.5 if self.schema.outcome_kind == "binary" else rng.normal(50, 20, int(at.sum()))
        table = self.table.set_column(self.table.column_names.index("a"), "a", pa.array(a))
        return World(table.set_column(table.column_names.index("y"), "y", pa.array(y)), self.schema)


class Batches(NamedTuple):
    """Covariates that come in batches, as a table on disk has them."""

    frame: pd.DataFrame
    size: int

    def batches(self) -> Iterator[tuple[slice, pd.DataFrame]]:
        for start in range(0, len(self.frame), self.size):
            frame = self.frame.iloc[start : start + self.size].reset_index(drop=True)
            yield slice(start, start + len(frame)), frame

    def take(self, mask: np.ndarray) -> pd.DataFrame:
        return self.frame.loc[mask].reset_index(drop=True)


def plan(fit_rows: int | None = None) -> Plan:
    return Plan("table", SEED, FOLDS, 1, fit_rows)


def in_memory(world: World, learner: str, fold_of: np.ndarray, fit_rows: int | None, _: Path) -> Nuisances:
    covariates, own = InMemory(world.frame), plan(fit_rows)
    return predict_folds(fit_folds(own, resolve("learner", learner), world.rows, covariates, fold_of, 0)[0], fold_of, covariates)


def on_disk(world: World, learner: str, fold_of: np.ndarray, fit_rows: int | None, _: Path) -> Nuisances:
    covariates, own = Batches(world.frame, 111), plan(fit_rows)
    return predict_folds(fit_folds(own, resolve("learner", learner), world.rows, covariates, fold_of, 0)[0], fold_of, covariates)


def batched(world: World, learner: str, fold_of: np.ndarray, fit_rows: int | None, _: Path) -> Nuisances:
    fitter, rows = resolve("learner", learner), world.rows
    assert isinstance(fitter, FoldedLearner)
    assert fit_rows is None
    return fitter.predict_folds(world.frame, rows.a, rows.y, rows.kind, fold_of).first


def by_tasks(world: World, learner: str, fold_of: np.ndarray, fit_rows: int | None, folder: Path) -> Nuisances:
    run, table = workspace(world, folder, learner, fit_rows)
    whole, starts = (
        world.table.select(["key", "a", "y"]).append_column("fold", pa.array(fold_of)),
        np.cumsum([0, *(part.rows for part in table.parts)]),
    )
    assigned = tuple(
        run.space().put_table(f"table/assigned-{number}.parquet", whole.slice(starts[number], part.rows))
        for number, part in enumerate(table.parts)
    )
    return nuisances_of(run.space().table(cross_fit_tasks(run, world.schema, table, assigned).nuisances))


BACKENDS: dict[str, Callable[[World, str, np.ndarray, int | None, Path], Nuisances]] = {
    "in memory": in_memory,
    "on disk": on_disk,
    "batched": batched,
    "tasks": by_tasks,
}


def workspace(world: World, folder: Path, learner: str, fit_rows: int | None, parts: int = 3) -> tuple[Run, Table]:
    """Put a table into a workspace of its own, cut into partitions."""
    mechanisms = {"learner": learner, "folds": FOLDS, "repeats": 1} | ({} if fit_rows is None else {"fit_rows": fit_rows})
    spec = parse_spec(
        {
            "name": "trial",
            "seed": SEED,
            "source": {"uri": "x.parquet"},
            "roles": {"treatment": "a", "outcome": "y"},
            "mechanisms": mechanisms,
            "store": {"uri": f"file://{folder}/store"},
        }
    )
    space = Workspace(f"file://{folder}/space")
    edges = np.linspace(0, world.table.num_rows, parts + 1).astype(int)
    refs = [
        space.put_table(f"source/part-{part}.parquet", world.table.slice(start, stop - start), part=part)
        for part, (start, stop) in enumerate(itertools.pairwise(edges))
    ]
    run = Run(spec=spec, workspace=space.uri, id="one", created="2026-01-01T00:00:00+00:00")
    return run, Table("table", tuple(refs))


def cross_fit_tasks(run: Run, schema: TableSchema, table: Table, assigned: tuple[PartitionRef, ...]) -> Fitted:
    """Run the tasks of a cross-fitting one after the other, without Prefect, as the flow orders them."""
    fits = [task.fit.fn(run, schema, table, assigned, 0, fold) for fold in range(FOLDS)]
    state, number, done = None, 0, not task.refines(run, schema, table)
    while not done:
        number += 1
        visited = [task.visit.fn(run, schema, table, fits, number, state, part) for part in table.parts]
        state, done = task.advance.fn(run, schema, table, fits, number, state, visited)
    if state is not None:
        fits = task.refined.fn(run, schema, table, fits, state)
    return Fitted(table, tuple(task.predict.fn(run, schema, table, fits, number) for number in range(len(table.parts))), fits)
