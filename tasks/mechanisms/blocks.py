"""Blocks of released rows: covariates, treatment and outcome, drawn in memory from fitted models."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.contract.columns import conform
from tasks.contract.conditions import Condition
from tasks.contract.errors import EstimationError
from tasks.contract.frames import from_frame, joint_frame, to_frame
from tasks.contract.nuisance import Float64, Int8, Predictions
from tasks.contract.roles import TableSchema
from tasks.contract.spec import MechanismsSpec
from tasks.mechanisms.balanced import balanced_treatment
from tasks.mechanisms.calibration import Balance, weights
from tasks.mechanisms.clusters import ClusterLaw, Intp, treat_clusters
from tasks.mechanisms.draw import designed, draw_treatment
from tasks.mechanisms.gathering import choose_clusters, cluster_means, form_clusters
from tasks.mechanisms.model import Mechanisms
from tasks.mechanisms.moments import features
from tasks.mechanisms.outcomes import Within, draw_outcomes
from tasks.mechanisms.sampling import inclusion, systematic_sample
from tasks.mechanisms.survival_model import TimesMechanisms

# Rows whose design matrices and features are in memory at a time.
SLICE = 12_500
# A condition that fewer draws of the covariate model meet is refused.
RAREST = 200


def draw_pool(
    covariates: Any, schema: TableSchema, size: int, rng: np.random.Generator, condition: Condition | None = None
) -> pd.DataFrame:
    """Draw covariates as they can be released: rounded and bounded before anything is computed from them.

    Parameters
    ----------
    covariates : fitted synthesizer
        :class:`tasks.covariates.protocol.CovariateModel`; its ``sample`` is all that is used.
    schema : TableSchema
    size : int
        Rows wanted.
    rng : numpy.random.Generator
    condition : Condition, optional
        What rows must meet: draws that don't have no weight, and are made up for.

    Returns
    -------
    DataFrame, ``size`` rows

    Raises
    ------
    EstimationError
        If fewer than one draw in :data:`RAREST` meets the condition.
    """
    if condition is not None:
        return _conditional_pool(covariates, schema, size, rng, condition)
    drawn = [from_frame(covariates.sample(min(SLICE, size - start), rng), schema.modelled) for start in range(0, size, SLICE)]
    return to_frame(pa.concat_tables(drawn).unify_dictionaries(), schema.modelled)


def _conditional_pool(covariates: Any, schema: TableSchema, size: int, rng: np.random.Generator, condition: Condition) -> pd.DataFrame:
    """Draw until so many rows meet the condition."""
    parts: list[pa.Table] = []
    there, draws = 0, 0
    while there < size:
        if draws >= RAREST * max(size, SLICE) and there * RAREST < draws:
            raise EstimationError(
                f"rows that meet '{condition.text}' must be at least one in {RAREST} of the covariate model's; got {there:,} of {draws:,}.",
                "Widen the condition.",
            )
        drawn = from_frame(covariates.sample(SLICE, rng), schema.modelled)
        draws += SLICE
        parts.append(drawn.filter(pa.array(condition.holds(to_frame(drawn, schema.modelled), schema.modelled))))
        there += parts[-1].num_rows
    return to_frame(pa.concat_tables(parts).unify_dictionaries().slice(0, size), schema.modelled)


class Predictor(Protocol):
    """Mechanisms of any outcome."""

    def predict_all(self, covariates: pd.DataFrame) -> Predictions:
        """Return g and Q* of some rows."""


class Pool(NamedTuple):
    """Drawn covariates before calibration.

    Attributes
    ----------
    frame : DataFrame, N rows
    predicted : Predictions
        Of these rows, each (N,).
    features : ndarray of float64, shape (N, p)
        What calibration weights depend on: :func:`tasks.mechanisms.moments.features`, their means over clusters where there are any.
    place : ndarray of intp, shape (N,), or None
        Number of each row's cluster, not falling.
    """

    frame: pd.DataFrame
    predicted: Predictions
    features: Float64
    place: Intp | None


def predicted_pool(
    schema: TableSchema,
    covariates: Any,
    mechanisms: Mechanisms | TimesMechanisms,
    size: int,
    rng: np.random.Generator,
    clusters: ClusterLaw | None = None,
    condition: Condition | None = None,
) -> Pool:
    """Draw a pool, put its rows together in clusters where the source has them, and predict it; arguments as in :func:`hybrid_block`."""
    frame, place = draw_pool(covariates, schema, size, rng, condition), None
    if clusters is not None:
        frame, place = form_clusters(frame, clusters, rng)
    predicted, values = mechanisms.describe(frame, schema.modelled)
    return Pool(frame, predicted, values if place is None else cluster_means(values, place), place)


def hybrid_block(
    spec: MechanismsSpec,
    balanced: bool,
    schema: TableSchema,
    covariates: Any,
    mechanisms: Mechanisms,
    balance: Balance,
    n: int,
    rng: np.random.Generator,
    clusters: ClusterLaw | None = None,
    condition: Condition | None = None,
    complete: bool = False,
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
    clusters : ClusterLaw, optional
        Where rows come in clusters: whole ones are drawn, and outcomes depend on one another within them.
    condition : Condition, optional
        What every row meets; ``balance`` was solved on rows that do.
    complete : bool
        Whether outcomes are drawn in every row, where some of the source's are missing.

    Returns
    -------
    pyarrow.Table
        Canonical covariates, ``a``, outcomes, and nuisances by name, propensities of the design; with clusters also ``place``,
        their number from 0.
    """
    size = int(np.ceil(n * spec.pool))
    pool = predicted_pool(schema, covariates, mechanisms, size, rng, clusters, condition)
    frame, every, place = choose(pool, balance, n, rng)
    drawn, a = treat(spec, balanced, schema, frame, every, rng, clusters, place)
    within = None if clusters is None or place is None else Within(clusters, place)
    y = draw_outcomes(mechanisms, a, drawn, frame, balanced, complete, rng, spec.outcome_range, within)
    rows = with_outcome(schema, from_frame(frame, schema.modelled), pa.array(a), y, drawn)
    return rows if within is None else rows.append_column("place", pa.array(within.place))


def choose(pool: Pool, balance: Balance, n: int, rng: np.random.Generator) -> tuple[pd.DataFrame, Predictions, Intp | None]:
    """Choose n rows of a pool by its calibrated weights; with clusters whole ones, and the number of each row's cluster, from 0."""
    weight = weights(pool.features, balance.coefficients, len(pool.frame) / n)
    # stratified by the effect: the release's own effect barely varies with the draw
    control, treated = pool.predicted.first.outcomes[:2]
    effect = treated - control
    if pool.place is None:
        chosen, place = systematic_sample(weight, n, rng, order_by=effect), None
    else:
        chosen = choose_clusters(inclusion(weight, n).probability, pool.place, n, effect, rng)
        place = np.unique(pool.place[chosen], return_inverse=True)[1].astype(np.intp)
    return pool.frame.iloc[chosen].reset_index(drop=True), pool.predicted.at(chosen), place


def treat(
    spec: MechanismsSpec,
    balanced: bool,
    schema: TableSchema,
    frame: pd.DataFrame,
    every: Predictions,
    rng: np.random.Generator,
    clusters: ClusterLaw | None = None,
    place: Intp | None = None,
) -> tuple[Predictions, Int8]:
    """Draw treatments of chosen rows, in whole clusters where the source's have one treatment each.

    Returns
    -------
    tuple of Predictions and ndarray of int8, shape (n,)
        With the propensities of the release's design.
    """
    kept = every.first
    whole = clusters is not None and place is not None and clusters.treated_whole
    if whole and place is not None:
        kept = kept.with_propensities(*cluster_means(np.column_stack(kept[: kept.arms - 1]), place).T)
    drawn = every._replace(first=designed(kept, spec, schema.arms))
    if whole and place is not None:
        return drawn, treat_clusters(drawn.first, place, balanced, rng, drawn.further)
    if not balanced:
        return drawn, draw_treatment(drawn.first, rng)
    return drawn, balanced_treatment(drawn.first, rng, features(frame, kept, schema.modelled)[:, : -len(kept)], drawn.further)


def joint_block(
    schema: TableSchema, covariates: Any, mechanisms: Predictor, n: int, rng: np.random.Generator, clusters: ClusterLaw | None = None
) -> pa.Table:
    """Draw n rows of (W, A, Y) from the synthesizer alone; g and Q are the source's, for comparison only.

    Of a time to event Y is the time, held at 0, and whether the event came: censoring is a column like any other here.

    With clusters rows are put together by their covariates; what their outcomes have in common beyond that is lost.
    """
    drawn, place = covariates.sample(n, rng), None
    if clusters is not None:
        drawn, place = form_clusters(drawn, clusters, rng)
    table = from_frame(drawn, schema.modelled)
    predicted = mechanisms.predict_all(to_frame(table, schema.modelled))
    y = np.column_stack([drawn[column.id].astype("float64").to_numpy() for column in schema.outcomes])
    if schema.event is not None:
        y = np.maximum(y, 0.0)
    rows = with_outcome(schema, table, pa.array(drawn["a"].astype("int8").to_numpy()), y, predicted)
    if schema.event is not None:
        rows = rows.append_column(schema.event.id, pa.array(drawn[schema.event.id].astype("float64").to_numpy()))
    return rows if place is None else rows.append_column("place", pa.array(place))


def with_passengers(schema: TableSchema, table: pa.Table, law: Any, rng: np.random.Generator) -> pa.Table:
    """Append the passengers that vary, drawn by their fitted law from covariates, treatment and outcome of the same rows."""
    varying = tuple(column for column in schema.passengers if not column.constant)
    drawn = from_frame(law.sample(joint_frame(table, schema), rng), varying)
    for column in varying:
        table = table.append_column(column.id, drawn.column(column.id))
    return table


def with_outcome(schema: TableSchema, table: pa.Table, a: pa.Array, y: Float64, predictions: Predictions) -> pa.Table:
    """Append treatment, outcomes (rounded as the source's are, shape (n,) or (n, p)) and predictions to canonical covariates."""
    table = table.append_column("a", a)
    for number, column in enumerate(schema.outcomes):
        table = table.append_column(column.id, conform(column, pa.array(y if y.ndim == 1 else y[:, number])))
    for name, values in predictions.columns().items():
        table = table.append_column(name, pa.array(values))
    return table
