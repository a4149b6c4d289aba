"""One outcome of an augmentation, weighed: what its rows are seen as, how many added rows suit it, and what else could be done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tasks.augmentation.agreement import Recalibration, conflict, recalibrate
from tasks.augmentation.criterion import Inputs, Point, choose, curve, nothing_of
from tasks.augmentation.effects import Averaging
from tasks.augmentation.rivals import Pooled, Rival, rivals, worth
from tasks.contract.columns import predictions_of
from tasks.contract.nuisance import Float64
from tasks.contract.roles import TableSchema
from tasks.targeting.unobserved import Observed, observed_of


class Tables(NamedTuple):
    """Cross-fitted tables with columns a, y, ... and nuisances: the source, the other one, and both as one with the source first."""

    observed: pa.Table
    other: pa.Table | None
    pooled: pa.Table | None


class Weighed(NamedTuple):
    """What is known of one outcome before rows are added."""

    inputs: Inputs
    recalibration: Recalibration | None
    points: list[Point]
    pooled: Pooled | None


def view(table: pa.Table, schema: TableSchema, number: int) -> Observed:
    """Return one outcome of a cross-fitted table as estimators see it: rows without it belong to an arm of their own."""
    predictions = predictions_of(table)
    a, y = table.column("a").to_numpy().astype(np.int8), table.column(schema.outcomes[number].id).to_numpy().astype(np.float64)
    return observed_of(a, y, predictions.of(number), predictions.chances(number))


def weigh(
    tables: Tables, schema: TableSchema, number: int, inputs: Inputs, most: float, averaging: Averaging, levels: Sequence[float] | None
) -> Weighed:
    """Estimate what every number of added rows is worth for one outcome.

    Parameters
    ----------
    tables : Tables
    schema : TableSchema
    number : int
        Of the outcome.
    inputs : Inputs
    most, averaging, levels
        As in :func:`tasks.augmentation.criterion.curve`.
    """
    recalibration = recalibrate(inputs.a, inputs.y, inputs.given, inputs.kind) if inputs.external else None
    points = curve(inputs, most, averaging, recalibration, levels)
    pooled = None
    if tables.pooled is not None and tables.other is not None:
        joined = view(tables.pooled, schema, number)
        pooled = Pooled(joined.a, joined.y, joined.nuisances, predictions_of(tables.other).of(number).outcomes)
    return Weighed(inputs, recalibration, points, pooled)


def choose_for_all(weighed: Sequence[Weighed]) -> int:
    """Return the place of the chosen point, the same for all outcomes.

    It is the best for the first outcome among those that make no outcome worse than doing nothing; the best for the first where there
    is none: the worth of the worst outcome then speaks against it.
    """
    first, *others = weighed
    allowed = list(range(len(first.points)))
    if others:
        harmless = [place for place in allowed if all(each.points[place].error <= _nothing(each) for each in weighed)]
        allowed = harmless or allowed
    return first.points.index(choose([first.points[place] for place in allowed]))


def _nothing(weighed: Weighed) -> float:
    """Return the squared error of doing nothing, a mean over the effects."""
    arms = range(1, weighed.inputs.arms)
    return sum(nothing_of(weighed.inputs, arm) for arm in arms) / len(arms) + weighed.points[0].covariates


def record_of(weighed: Weighed, place: int, truncation: float, labels: Sequence[str]) -> dict[str, Any]:
    """Return the numbers of one outcome by name: ``curve``, ``chosen``, ``conflict``, ``rivals``, ``worth``."""
    chosen = weighed.points[place]
    ways: list[Rival] = rivals(weighed.inputs, chosen, weighed.recalibration, weighed.pooled, truncation)
    return {
        "curve": [each.record() for each in weighed.points],
        "chosen": chosen.record(labels),
        "conflict": _conflict(weighed.inputs, chosen, weighed.recalibration, labels),
        "rivals": [each.record(labels) for each in ways],
        "worth": worth(ways),
    }


def _conflict(inputs: Inputs, chosen: Point, recalibration: Recalibration | None, labels: Sequence[str]) -> dict[str, Any] | None:
    """Return what the tables' disagreement does to the effect; of several effects to the one it moves most, and to each."""
    if recalibration is None:
        return None
    weights = inputs.filling(chosen.level).borrowed
    seen = [conflict(recalibration, inputs.given.mean, weights, each.borrowed, each.arm) for each in chosen.pairs]
    records = [{"change": each.change, "se": each.se, "chance": each.chance, "squared": each.squared} for each in seen]
    most = max(records, key=lambda each: abs(each["change"]))
    if len(records) == 1:
        return dict(most)
    return {**most, "pairs": [{"arm": label, "control": labels[0], **each} for label, each in zip(labels[1:], records, strict=True)]}


def inputs_of(
    tables: Tables, schema: TableSchema, number: int, ensembles: tuple[Any, Any], bound: float, reference: tuple[Float64, ...] | None
) -> Inputs:
    """Gather what is known of one outcome; ``ensembles`` are the source's own and the given one, None where there is no other table."""
    source = view(tables.observed, schema, number)
    given = ensembles[0] if ensembles[1] is None else ensembles[1]
    kind = schema.outcome_kinds[number]
    return Inputs(source.a, source.y, source.nuisances, ensembles[0], given, kind, bound, ensembles[1] is not None, reference)
