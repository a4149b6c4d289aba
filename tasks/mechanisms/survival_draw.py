"""Blocks of released rows whose outcome is a time to event."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.contract.frames import from_frame
from tasks.contract.nuisance import Float64, Int8, Nuisances, Predictions
from tasks.contract.roles import TableSchema
from tasks.contract.spec import MechanismsSpec
from tasks.mechanisms.balanced import balanced_treatment
from tasks.mechanisms.blocks import Pool, draw_pool, with_outcome
from tasks.mechanisms.calibration import Balance, weights
from tasks.mechanisms.draw import designed, draw_treatment
from tasks.mechanisms.moments import features
from tasks.mechanisms.sampling import systematic_sample
from tasks.mechanisms.survival_law import spread_evenly
from tasks.mechanisms.survival_model import TimesMechanisms, times_features

_BLOCK = 8_192


def times_pool(schema: TableSchema, covariates: Any, mechanisms: TimesMechanisms, size: int, rng: np.random.Generator) -> Pool:
    """Draw a pool and predict it; arguments as in :func:`times_block`."""
    frame = draw_pool(covariates, schema, size, rng)
    view = mechanisms.view(frame)
    return Pool(frame, Predictions(view.nuisances), times_features(frame, view, schema.modelled), None)


def times_block(
    spec: MechanismsSpec,
    balanced: bool,
    schema: TableSchema,
    covariates: Any,
    mechanisms: TimesMechanisms,
    balance: Balance,
    n: int,
    rng: np.random.Generator,
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

    Returns
    -------
    pyarrow.Table
        Canonical covariates, ``a``, ``y`` (the time), ``e`` (1 for an event), and nuisances by name: propensities of the design and
        restricted means.
    """
    size = int(np.ceil(n * spec.pool))
    pool = times_pool(schema, covariates, mechanisms, size, rng)
    weight = weights(pool.features, balance.coefficients, size / n)
    # stratified by the effect: the release's own effect barely varies with the draw
    control, treated = pool.predicted.first.outcomes[:2]
    chosen = systematic_sample(weight, n, rng, order_by=treated - control)
    frame = pool.frame.iloc[chosen].reset_index(drop=True)
    kept = pool.predicted.at(chosen).first
    drawn = designed(kept, spec, schema.arms)
    matched = features(frame, kept, schema.modelled)[:, : -len(kept)]
    a = balanced_treatment(drawn, rng, matched) if balanced else draw_treatment(drawn, rng)
    time, came = draw_times(mechanisms, a, drawn, frame, balanced, rng)
    table = with_outcome(schema, from_frame(frame, schema.modelled), pa.array(a), time, Predictions(drawn))
    return table.append_column("e", pa.array(came.astype(np.float64)))


def draw_times(
    mechanisms: TimesMechanisms, a: Int8, nuisances: Nuisances, covariates: pd.DataFrame, balanced: bool, rng: np.random.Generator
) -> tuple[Float64, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
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
        event, censoring = (hazard[a[here], np.arange(here.stop - start)] for hazard in mechanisms.hazards(covariates.iloc[here]))
        time[here], came[here] = mechanisms.law.draw(event, censoring, (first[here], second[here]))
    return time, came
