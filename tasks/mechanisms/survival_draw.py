"""Blocks of released rows whose outcome is a time to event."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.contract.columns import cause_name
from tasks.contract.conditions import Condition
from tasks.contract.frames import from_frame, to_frame
from tasks.contract.nuisance import Float64, Int8, Nuisances, Predictions
from tasks.contract.roles import TableSchema
from tasks.contract.spec import MechanismsSpec
from tasks.mechanisms.blocks import choose, predicted_pool, treat, with_outcome
from tasks.mechanisms.calibration import Balance
from tasks.mechanisms.cause_draw import draw_causes
from tasks.mechanisms.clusters import ClusterLaw, balance_directions
from tasks.mechanisms.survival_clusters import Mask, OwnHazards, draw_alike_times
from tasks.mechanisms.survival_law import spread_evenly
from tasks.mechanisms.survival_model import TimesMechanisms

_BLOCK = 8_192


def times_block(
    spec: MechanismsSpec,
    balanced: bool,
    schema: TableSchema,
    covariates: Any,
    mechanisms: TimesMechanisms,
    balance: Balance,
    n: int,
    rng: np.random.Generator,
    clusters: ClusterLaw | None = None,
    condition: Condition | None = None,
) -> pa.Table:
    """Draw n rows by the hybrid model: pool, calibrated choice, treatment, time and event.

    Parameters
    ----------
    spec : MechanismsSpec
        Size of the pool and the treatment design.
    balanced : bool
        Whether arms and times are drawn balanced rather than independently.
    schema : TableSchema
    covariates : fitted synthesizer
    mechanisms : TimesMechanisms
    balance : Balance
        Solved calibration weights.
    n : int
        Rows wanted.
    rng : numpy.random.Generator
    clusters : ClusterLaw, optional
        Where rows come in clusters: whole ones are drawn, and times depend on one another within them.
    condition : Condition, optional
        What every row meets; ``balance`` was solved on rows that do.

    Returns
    -------
    pyarrow.Table
        Canonical covariates, ``a``, ``y`` (the time), ``e`` (1 for an event, or the number of its cause), and nuisances by name:
        propensities of the design and restricted means; with clusters also ``place``, their number from 0.
    """
    pool = predicted_pool(schema, covariates, mechanisms, int(np.ceil(n * spec.pool)), rng, clusters, condition)
    frame, every, place = choose(pool, balance, n, rng)
    treated, a = treat(spec, balanced, schema, frame, every, rng, clusters, place)
    drawn = treated.first
    if clusters is None or place is None:
        time, came, chances = draw_times(mechanisms, a, drawn, frame, balanced, rng)
    else:
        hazards, directions = own_hazards(mechanisms, a, frame), balance_directions(a, drawn)
        time, came = draw_alike_times(mechanisms.law, hazards, directions, place, clusters, balanced, rng)
        chances = _chances(mechanisms, hazards, time)
    table = with_outcome(schema, from_frame(frame, schema.modelled), pa.array(a), time, Predictions(drawn))
    e = draw_causes(came, chances, mechanisms.outcome.grid.period(time), a, balanced, rng)
    table = table.append_column("e", pa.array(e))
    return table if place is None else table.append_column("place", pa.array(place))


def with_curves(schema: TableSchema, table: pa.Table, mechanisms: TimesMechanisms) -> pa.Table:
    """Append S*(t) of every arm at the declared times: ``s1_0``, ``s1_1``, ...; of causes what :func:`cause_name` names."""
    view = mechanisms.view(to_frame(table, schema.modelled))
    for number, values in enumerate(view.values, start=1):
        for arm, chance in enumerate(values):
            table = table.append_column(f"s{number}_{arm}", pa.array(chance))
    for (cause, number, arm), _ in np.ndenumerate(view.causes[..., 0]):
        table = table.append_column(cause_name(cause + 1, number, arm), pa.array(view.causes[cause, number, arm]))
    return table


def draw_times(
    mechanisms: TimesMechanisms, a: Int8, nuisances: Nuisances, covariates: pd.DataFrame, balanced: bool, rng: np.random.Generator
) -> tuple[Float64, Mask, Float64]:
    """Draw times and events of rows with given covariates and arms, each of shape (n,), with the nested chances of their causes.

    Balanced draws spread the quantiles of both times evenly among rows of one arm that have about the same restricted mean.
    """
    n = len(a)
    first, second = rng.random(n), rng.random(n)
    if balanced:
        for arm, mean in enumerate(nuisances.outcomes):
            rows = np.flatnonzero(a == arm)
            first[rows], second[rows] = spread_evenly(mean[rows], rng)
    time, came, chances = np.empty(n), np.empty(n, dtype=np.bool_), np.empty((len(mechanisms.cause_shifts), n))
    for start in range(0, n, _BLOCK):
        here = slice(start, min(start + _BLOCK, n))
        hazards = own_hazards(mechanisms, a[here], covariates.iloc[here])
        time[here], came[here] = mechanisms.law.draw(*hazards[:2], (first[here], second[here]))
        chances[:, here] = _chances(mechanisms, hazards, time[here])
    return time, came, chances


def _chances(mechanisms: TimesMechanisms, hazards: OwnHazards, time: Float64) -> Float64:
    """Return the nested chances of causes in the period of each row's time, shape (J - 1, n)."""
    period = np.minimum(mechanisms.outcome.grid.period(time), len(mechanisms.outcome.edges) - 1)
    return hazards.splits[:, np.arange(len(time)), period]


def own_hazards(mechanisms: TimesMechanisms, a: Int8, covariates: pd.DataFrame) -> OwnHazards:
    """Return the targeted hazards of rows under their own arm."""
    parts = []
    for start in range(0, max(len(a), 1), _BLOCK):
        arm = a[start : start + _BLOCK]
        hazards = mechanisms.hazards(covariates.iloc[start : start + _BLOCK], arm)
        parts.append([hazard[..., arm, np.arange(len(arm)), :] for hazard in hazards])
    return OwnHazards(*(np.concatenate(each, axis=-2) for each in zip(*parts, strict=True)))
