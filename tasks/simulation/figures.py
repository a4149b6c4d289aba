"""From replicates to figures: one row for each estimator of each cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.contract.nuisance import Float64
from tasks.contract.rng import rng_for
from tasks.simulation.answers import answers_of, by_estimator
from tasks.simulation.grid import Cell
from tasks.simulation.performance import MEASURES, performance
from tasks.simulation.population import Truth
from tasks.simulation.ranking import ranking


def figures(table: pa.Table, cells: Sequence[Cell], truths: Sequence[Mapping[str, Truth]]) -> list[dict[str, Any]]:
    """Measure every estimator of every cell.

    Parameters
    ----------
    table : pyarrow.Table
        Replicates of one draw of the law, in their order within each cell.
    cells : sequence of Cell
        The grid.
    truths : sequence of mapping
        Effects of each cell's law, by estimand.

    Returns
    -------
    list of dict
        In the order of cells and estimators: what the cell is, the estimator, its estimand and truth, number of replicates, and each of
        ``MEASURES`` with its ``_mcse``; mean effective sample size and share of truncated rows.
    """
    rows = []
    for cell, truth_of in zip(cells, truths, strict=True):
        of_cell = table.filter(pc.equal(table.column("cell"), cell.key))
        for name, (estimand, numbers) in by_estimator(of_cell).items():
            truth = None if estimand is None else truth_of[estimand]
            measured = performance(answers_of(numbers), None if truth is None else truth.value)
            row: dict[str, Any] = {"cell": cell.key, "title": cell.title, **cell._asdict(), "estimator": name, "estimand": estimand}
            row |= {"truth": None if truth is None else truth.value, "truth_se": None if truth is None else truth.se}
            row["replicates"] = len(numbers["estimate"])
            for measure in MEASURES:
                row[measure], row[f"{measure}_mcse"] = measured[measure]
            rows.append(row | {key: _mean(numbers[key]) for key in ("ess", "clipped")})
    return rows


def to_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return figures as a table whose types don't depend on what happens to be known."""
    whole, texts = ("draw", "n", "replicates"), ("cell", "title", "design", "withheld", "learner", "estimator", "estimand")
    names = list(rows[0])
    types = {name: pa.int64() if name in whole else pa.string() if name in texts else pa.float64() for name in names}
    return pa.Table.from_pylist([dict(row) for row in rows], schema=pa.schema(list(types.items())))


def places(table: pa.Table, cells: Sequence[Cell], truths: Sequence[Mapping[str, Truth]], seed: int) -> list[dict[str, Any]]:
    """Rank the estimators of each cell that share an estimand, where there are at least two.

    Parameters
    ----------
    table, cells, truths
        As for :func:`figures`.
    seed : int
        The SPEC's seed.

    Returns
    -------
    list of dict
        In the order of cells, the best first.
    """
    ranks = []
    for cell, truth_of in zip(cells, truths, strict=True):
        answered = by_estimator(table.filter(pc.equal(table.column("cell"), cell.key)))
        for estimand in dict.fromkeys(each for each, _ in answered.values() if each is not None):
            errors = {name: numbers["estimate"] - truth_of[estimand].value for name, (of, numbers) in answered.items() if of == estimand}
            if len(errors) < 2:
                continue
            for place in ranking(errors, rng_for(seed, "simulate ranking", f"{cell.key}/{estimand}")):
                named = {"cell": cell.key, "title": cell.title, "n": cell.n, "design": cell.design, "estimand": estimand}
                ranks.append(named | place._asdict())
    return ranks


def _mean(values: Float64) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None
