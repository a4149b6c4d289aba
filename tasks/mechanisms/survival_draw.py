"""Blocks of released rows whose outcome is a time to event."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.contract.conditions import Condition
from tasks.contract.frames import from_frame, to_frame
from tasks.contract.nuisance import Float64, Int8, Nuisances, Predictions
from tasks.contract.roles import TableSchema
from tasks.contract.spec import MechanismsSpec
from tasks.mechanisms.blocks import choose, predicted_pool, treat, with_outcome
from tasks.mechanisms.calibration import Balance
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
        Canonical covariates, ``a``, ``y`` (the time), ``e`` (1 for an event), and nuisances by name: propensities of the design and
        restricted means; with clusters also ``place``, their number from 0.
    """
    pool = predicted_pool(schema, covariates, mechanisms, int(np.ceil(n * spec.pool)), rng, clusters, condition)
    frame, every, place = choose(pool, balance, n, rng)
    treated, a = treat(spec, balanced, schema, frame, every, rng, clusters, place)
    drawn = treated.first
    if clusters is None or place is None:
        time, came = draw_times(mechanisms, a, drawn, frame, balanced, rng)
    else:
        hazards, directions = own_hazards(mechanisms, a, frame), balance_directions(a, drawn)
        time, came = draw_alike_times(mechanisms.law, hazards, directions, place, clusters, balanced, rng)
    table = with_outcome(schema, from_frame(frame, schema.modelled), pa.array(a), time, Predictions(drawn))
    table = table.append_column("e", pa.array(came.astype(np.float64)))
    return table if place is None else table.append_column("place", pa.array(place))


def with_curves(schema: TableSchema, table: pa.Table, mechanisms: TimesMechanisms) -> pa.Table:
    """Append S*(t) of every arm at the declared times: ``s1_0``, ``s1_1``, ..."""
    for number, values in enumerate(mechanisms.view(to_frame(table, schema.modelled)).values, start=1):
        for arm, chance in enumerate(values):
            table = table.append_column(f"s{number}_{arm}", pa.array(chance))
    return table


def draw_times(
    mechanisms: TimesMechanisms, a: Int8, nuisances: Nuisances, covariates: pd.DataFrame, balanced: bool, rng: np.random.Generator
) -> tuple[Float64, Mask]:
    """Draw times and events of rows with given covariates and arms, each of shape (n,).

    Balanced draws spread the quantiles of both times evenly among rows of one arm that have about the same restricted mean.
    """
    n = len(a)
    first, second = rng.random(n), rng.random(n)
    if balanced:
        for arm, mean in enumerate(nuisances.outcomes):
            rows = np.flatnonzero(a == arm)
            first[rows], second[rows] = spread_evenly(mean[rows], rng)
    time, came = np.empty(n), np.empty(n, dtype=np.bool_)
    for start in range(0, n, _BLOCK):
        here = slice(start, min(start + _BLOCK, n))
        hazards = own_hazards(mechanisms, a[here], covariates.iloc[here])
        time[here], came[here] = mechanisms.law.draw(*hazards, (first[here], second[here]))
    return time, came


def own_hazards(mechanisms: TimesMechanisms, a: Int8, covariates: pd.DataFrame) -> OwnHazards:
    """Return the targeted hazards of rows under their own arm."""
    parts = []
    for start in range(0, max(len(a), 1), _BLOCK):
        arm = a[start : start + _BLOCK]
        parts.append([hazard[arm, np.arange(len(arm))] for hazard in mechanisms.hazards(covariates.iloc[start : start + _BLOCK])])
    return OwnHazards(*(np.concatenate(each) for each in zip(*parts, strict=True)))
