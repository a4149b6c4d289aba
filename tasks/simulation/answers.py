"""Replicates as a table, and back to arrays by estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tasks.contract.nuisance import Float64
from tasks.simulation.contrasts import CONTRAST, Contrast, Effect, Series
from tasks.simulation.performance import Answers, Tally, tally
from tasks.simulation.population import Truth
from tasks.simulation.replicate import Replicate

NUMBERS = ("estimate", "se", "ci_low", "ci_high", "ess", "clipped")
#: Of more than two arms: the interval that holds together with those of all other pairs.
JOINT = ("joint_low", "joint_high")
_FIRST = [("cell", pa.string()), ("draw", pa.int16()), ("replicate", pa.int32()), ("estimator", pa.string()), ("estimand", pa.string())]


class AnswerSeries(NamedTuple):
    """One series of answers: the estimand (None where there is no answer) and the numbers, each of shape (R,), NaN where it failed."""

    estimand: str | None
    numbers: dict[str, Float64]

    @property
    def answers(self) -> Answers:
        """What performance is measured on."""
        return Answers(*(self.numbers[name] for name in ("estimate", "se", "ci_low", "ci_high")))


def to_table(cell: str, draw: int, done: Sequence[Replicate]) -> pa.Table:
    """Return replicates as a table, one row for each contrast of each estimator of each; numbers are null where it failed.

    Parameters
    ----------
    cell : str
        Key of the cell.
    draw : int
        Which fit of the law.
    done : sequence of Replicate
        At least one. Column ``outcome`` is there where they have several; ``arm``, ``control`` and ``JOINT`` where there are more than
        two arms.
    """
    named = done[0].outcomes[0].contrasts[0].columns
    numbers = (*NUMBERS, *JOINT) if "arm" in named else NUMBERS
    schema = pa.schema([*_FIRST, *((name, pa.string()) for name in named), *((name, pa.float64()) for name in numbers)])
    rows = [
        {"cell": cell, "draw": draw, "replicate": one.number, "estimator": each.estimator}
        | contrast.columns
        | (
            {"estimand": None} | dict.fromkeys(numbers)
            if estimate is None
            else {"estimand": estimate.estimand} | {name: float(getattr(estimate, name)) for name in numbers}
        )
        for one in done
        for each in one.outcomes
        for contrast, estimate in zip(each.contrasts, each.estimates, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=schema)


def by_series(table: pa.Table) -> dict[Series, AnswerSeries]:
    """Return the answers of each estimator on each contrast, in the order of the replicates.

    Parameters
    ----------
    table : pyarrow.Table
        Replicates of one cell and draw, in their order.
    """
    named = [name for name in CONTRAST if name in table.column_names]
    texts = [np.asarray(table.column(name).to_pylist(), dtype=object) for name in ("estimator", *named)]
    estimands = np.asarray(table.column("estimand").to_pylist(), dtype=object)
    columns = (*NUMBERS, *JOINT) if "arm" in named else NUMBERS
    numbers = {name: np.asarray(table.column(name).to_numpy(zero_copy_only=False), dtype=np.float64) for name in columns}
    answers: dict[Series, AnswerSeries] = {}
    for key in dict.fromkeys(zip(*(values.tolist() for values in texts), strict=True)):
        rows = np.logical_and.reduce([values == text for values, text in zip(texts, key, strict=True)])
        estimator, *values = key
        answered = {estimand for estimand in estimands[rows] if estimand is not None}
        series = Series(estimator, Contrast(**dict(zip(named, values, strict=True))))
        answers[series] = AnswerSeries(min(answered) if answered else None, {name: each[rows] for name, each in numbers.items()})
    return answers


def tallies(table: pa.Table, truths: Mapping[Effect, Truth]) -> dict[Series, Tally]:
    """Sum up a batch by estimator and contrast; a test, which has no truth, does not decide how many replicates there are."""
    sums = {}
    for series, answered in by_series(table).items():
        if answered.estimand is None:
            sums[series] = Tally()
        elif (truth := truths.get(Effect(answered.estimand, series.contrast))) is not None:
            sums[series] = tally(answered.answers, truth.value)
    return sums
