"""Replicates as a table, and back to arrays by estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from tasks.contract.nuisance import Float64
from tasks.simulation.performance import Answers, Tally, tally
from tasks.simulation.population import Truth
from tasks.simulation.replicate import Replicate

NUMBERS = ("estimate", "se", "ci_low", "ci_high", "ess", "clipped")
SCHEMA = pa.schema(
    [
        ("cell", pa.string()),
        ("draw", pa.int16()),
        ("replicate", pa.int32()),
        ("estimator", pa.string()),
        ("estimand", pa.string()),
        *((name, pa.float64()) for name in NUMBERS),
    ]
)


def to_table(cell: str, draw: int, done: Sequence[Replicate]) -> pa.Table:
    """Return replicates as a table, one row for each estimator of each; numbers are null where it failed."""
    rows = [
        {"cell": cell, "draw": draw, "replicate": one.number, "estimator": each.estimator}
        | (
            {"estimand": None} | dict.fromkeys(NUMBERS)
            if each.estimate is None
            else {"estimand": each.estimate.estimand} | {name: float(getattr(each.estimate, name)) for name in NUMBERS}
        )
        for one in done
        for each in one.outcomes
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def by_estimator(table: pa.Table) -> dict[str, tuple[str | None, dict[str, Float64]]]:
    """Return estimand and numbers of each estimator, in the order of the replicates, NaN where it failed.

    Parameters
    ----------
    table : pyarrow.Table
        Replicates of one cell and draw, in their order.
    """
    names = np.asarray(table.column("estimator").to_pylist(), dtype=object)
    estimands = np.asarray(table.column("estimand").to_pylist(), dtype=object)
    numbers = {name: np.asarray(table.column(name).to_numpy(zero_copy_only=False), dtype=np.float64) for name in NUMBERS}
    answers: dict[str, tuple[str | None, dict[str, Float64]]] = {}
    for name in dict.fromkeys(names.tolist()):
        rows = names == name
        answered = {estimand for estimand in estimands[rows] if estimand is not None}
        answers[name] = (min(answered) if answered else None, {key: values[rows] for key, values in numbers.items()})
    return answers


def answers_of(numbers: Mapping[str, Float64]) -> Answers:
    """Return what performance is measured on."""
    return Answers(numbers["estimate"], numbers["se"], numbers["ci_low"], numbers["ci_high"])


def tallies(table: pa.Table, truths: Mapping[str, Truth]) -> dict[str, Tally]:
    """Sum up a batch by estimator."""
    sums = {}
    for name, (estimand, numbers) in by_estimator(table).items():
        sums[name] = Tally() if estimand is None else tally(answers_of(numbers), truths[estimand].value)
    return sums
