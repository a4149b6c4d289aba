"""Blocks of released rows: covariates, treatment and outcome, drawn in memory from fitted models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.contract.columns import conform
from tasks.contract.frames import from_frame, to_frame
from tasks.contract.nuisance import Float64, Nuisances
from tasks.contract.roles import TableSchema
from tasks.contract.spec import MechanismsSpec
from tasks.mechanisms.balanced import balanced_outcome, balanced_treatment
from tasks.mechanisms.calibration import Balance, weights
from tasks.mechanisms.draw import clipped, design_probability, draw_outcome, draw_treatment
from tasks.mechanisms.model import Mechanisms
from tasks.mechanisms.moments import features
from tasks.mechanisms.sampling import systematic_sample

# Rows whose design matrices and features are in memory at a time.
SLICE = 12_500


def draw_pool(covariates: Any, schema: TableSchema, size: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draw covariates as they can be released: rounded and bounded before anything is computed from them.

    Parameters
    ----------
    covariates : fitted synthesizer
        :class:`tasks.covariates.protocol.CovariateModel`; its ``sample`` is all that is used.
    schema : TableSchema
    size : int
        Rows wanted.
    rng : numpy.random.Generator

    Returns
    -------
    DataFrame, ``size`` rows
    """
    drawn = [from_frame(covariates.sample(min(SLICE, size - start), rng), schema.modelled) for start in range(0, size, SLICE)]
    return to_frame(pa.concat_tables(drawn).unify_dictionaries(), schema.modelled)


def hybrid_block(
    spec: MechanismsSpec,
    balanced: bool,
    schema: TableSchema,
    covariates: Any,
    mechanisms: Mechanisms,
    balance: Balance,
    n: int,
    rng: np.random.Generator,
) -> pa.Table:
    """Draw n rows by the hybrid model: pool, calibrated choice, treatment, outcome.

    Parameters
    ----------
    spec : MechanismsSpec
        Size of the pool, the treatment design and the outcome's range.
    balanced : bool
        Whether arms and outcomes are drawn balanced rather than independently.
    schema : TableSchema
    covariates : fitted synthesizer
        As in :func:`draw_pool`.
    mechanisms : Mechanisms
    balance : Balance
        Solved calibration weights.
    n : int
        Rows wanted.
    rng : numpy.random.Generator

    Returns
    -------
    pyarrow.Table
        Canonical covariates, ``a``, ``y``, and ``g`` (of the design), ``q0``, ``q1``.
    """
    size = int(np.ceil(n * spec.pool))
    pool = draw_pool(covariates, schema, size, rng)
    predicted = mechanisms.predict(pool)
    weight = weights(features(pool, predicted, schema.modelled, mechanisms.targets), balance.coefficients, size / n)
    # stratified by the effect: the release's own effect barely varies with the draw
    chosen = systematic_sample(weight, n, rng, order_by=predicted.q1 - predicted.q0)
    frame = pool.iloc[chosen].reset_index(drop=True)
    kept = Nuisances(*(values[chosen] for values in predicted))
    designed = kept._replace(g=design_probability(kept.g, spec.treatment, spec.probability, spec.tilt))
    if balanced:
        matched = features(frame, kept, schema.modelled)[:, : -len(kept)]
        a = balanced_treatment(designed, rng, matched)
        y = clipped(balanced_outcome(mechanisms.law, a, designed, frame, rng), spec.outcome_range).y
    else:
        a = draw_treatment(designed.g, rng)
        y = draw_outcome(mechanisms.law, a, designed, frame, rng, spec.outcome_range).y
    return with_outcome(schema, from_frame(frame, schema.modelled), pa.array(a), y, designed)


def joint_block(schema: TableSchema, covariates: Any, mechanisms: Mechanisms, n: int, rng: np.random.Generator) -> pa.Table:
    """Draw n rows of (W, A, Y) from the synthesizer alone; g and Q are the source's, for comparison only."""
    drawn = covariates.sample(n, rng)
    table = from_frame(drawn, schema.modelled)
    predicted = mechanisms.predict(to_frame(table, schema.modelled))
    y = drawn["y"].astype("float64").to_numpy()
    return with_outcome(schema, table, pa.array(drawn["a"].astype("int8").to_numpy()), y, predicted)


def with_outcome(schema: TableSchema, table: pa.Table, a: pa.Array, y: Float64, nuisances: Nuisances) -> pa.Table:
    """Append treatment, outcome (rounded as the source's is) and nuisances to canonical covariates."""
    table = table.append_column("a", a).append_column("y", conform(schema.outcome, pa.array(y)))
    for name, values in nuisances._asdict().items():
        table = table.append_column(name, pa.array(values))
    return table
