"""One release in memory, by the product's own functions: what a flow run does, without Prefect, for studies of hundreds of seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.contract.columns import conform
from tasks.contract.frames import from_frame, to_frame
from tasks.contract.nuisance import Float64, Int8, Nuisances
from tasks.contract.registry import resolve
from tasks.contract.rng import UInt64, bootstrap_weights, in_holdout, rng_for
from tasks.contract.roles import Column, TableSchema
from tasks.covariates.protocol import CovariateModel
from tasks.mechanisms.calibration import Balance, balance, weights
from tasks.mechanisms.draw import Design, design_probability, draw_outcome, draw_treatment
from tasks.mechanisms.laws.choice import attainable, fit_law
from tasks.mechanisms.laws.support import find_support
from tasks.mechanisms.model import Mechanisms, assemble
from tasks.mechanisms.moments import effect_features, features, moments
from tasks.mechanisms.sampling import systematic_sample
from tasks.mechanisms.targeting import Targeting, target
from tasks.nuisance.crossfit import InMemory, Rows, cross_fit
from tasks.nuisance.fold_model import FoldModel, averaged
from tasks.nuisance.plan import Plan
from tasks.targeting.fluctuation import truncation_bound

POOL_ROWS = 40_000
POOL = 4.0
HOLDOUT = 0.3


class Source(NamedTuple):
    """A source in hash order: canonical covariates, treatment, outcome, keys."""

    schema: TableSchema
    frame: pd.DataFrame
    a: Int8
    y: Float64
    keys: UInt64

    @property
    def kind(self) -> str:
        """Kind of the outcome."""
        return self.schema.outcome_kind

    def training_rows(self, seed: int) -> pd.DataFrame:
        """Return the covariates that a synthesizer may see."""
        return self.frame[~in_holdout(self.keys, seed, HOLDOUT)].reset_index(drop=True)


def source_of(rows: pa.Table, schema: TableSchema) -> Source:
    """Return a snapshot as arrays."""
    a, y = rows.column("a").to_numpy().astype(np.int8), rows.column("y").to_numpy().astype(np.float64)
    return Source(schema, to_frame(rows, schema.modelled), a, y, rows.column("key").to_numpy())


class Fit(NamedTuple):
    """Cross-fitted mechanisms of a source: out-of-fold nuisances, the fold models, their averaged predictions, row weights."""

    nuisances: Nuisances
    models: tuple[FoldModel, ...]
    averaged: Nuisances
    weights: Float64 | None


def fit(source: Source, learner: str, seed: int, folds: int = 5, copy: int | None = None, repeats: int = 1) -> Fit:
    """Cross-fit g and Q, with the Bayesian bootstrap weights of a copy if one is named; repeats are averaged, as a run does."""
    own = None if copy is None else bootstrap_weights(source.keys, seed, copy)
    rows = Rows(source.keys, source.a, source.y, source.kind, own)
    found = cross_fit(Plan("source", seed, folds, repeats), resolve("learner", learner), rows, InMemory(source.frame))
    return Fit(found.nuisances, found.models, averaged(found.models, source.frame), own)


def targeted(source: Source, fitted: Fit) -> Targeting:
    """Target Q as a run does."""
    bound = truncation_bound(len(source.y), "auto")
    reach = attainable(source.y, find_support(source.y), source.kind)
    return target(source.a, source.y, fitted.nuisances, source.kind, bound, fitted.weights, bounds=reach)


def mechanisms(source: Source, fitted: Fit, targeting: Targeting, seed: int) -> Mechanisms:
    """Fit the outcome law and put the mechanisms together."""
    rng = rng_for(seed, "outcome law")
    law = fit_law(source.a, source.y, targeting.q0, targeting.q1, source.frame, source.kind, rng, fitted.weights)
    return assemble(fitted.models, targeting, fitted.averaged, law, source.kind, fitted.weights)


class Release(NamedTuple):
    """Released rows: canonical covariates, treatment, outcome, and the mechanisms' own nuisances."""

    frame: pd.DataFrame
    a: Int8
    y: Float64
    nuisances: Nuisances


def conformed(drawn: pd.DataFrame, columns: tuple[Column, ...]) -> pd.DataFrame:
    """Return covariates as they are released: rounded and bounded."""
    return to_frame(from_frame(drawn, columns), columns)


def calibrated(
    source: Source, model: CovariateModel, made: Mechanisms, fitted: Fit, rng: np.random.Generator, pool_rows: int = POOL_ROWS
) -> Balance:
    """Solve the balancing weights on a pool."""
    columns = source.schema.modelled
    goal = moments(features(source.frame, made.anchored(fitted.averaged, source.frame), columns), fitted.weights).means
    pool = conformed(model.sample(pool_rows, rng), columns)
    return balance(features(pool, made.predict(pool), columns), goal, POOL, kept=effect_features())


def mint(
    source: Source,
    model: CovariateModel,
    made: Mechanisms,
    solved: Balance,
    rows: int,
    rng: np.random.Generator,
    design: Design = "randomized",
) -> Release:
    """Draw one release."""
    columns = source.schema.modelled
    size = int(np.ceil(rows * POOL))
    pool = conformed(model.sample(size, rng), columns)
    predicted = made.predict(pool)
    weight = weights(features(pool, predicted, columns), solved.coefficients, size / rows)
    chosen = systematic_sample(weight, rows, rng, order_by=predicted.q1 - predicted.q0)
    frame = pool.iloc[chosen].reset_index(drop=True)
    kept = Nuisances(*(values[chosen] for values in predicted))
    own = kept._replace(g=design_probability(kept.g, design, 0.5, 1.0))
    a = draw_treatment(own, rng)
    outcome = draw_outcome(made.law, a, own, frame, rng)
    y = conform(source.schema.outcome, pa.array(outcome.y)).to_numpy(zero_copy_only=False).astype(np.float64)
    return Release(frame, a, y, own)


@dataclass(frozen=True)
class Spoilt:
    """A generator spoilt on purpose: numeric means half a standard deviation off, one binary rate off by 0.15.

    What it shifts by is fixed from the table it was fitted on, so its law is wrong in the same way for every draw.
    """

    model: CovariateModel
    shifts: dict[str, float]
    flipped: str | None

    def sample(self, n: int, rng: np.random.Generator) -> pd.DataFrame:
        """Draw from the honest model, then spoil."""
        drawn = self.model.sample(n, rng)
        for name, shift in self.shifts.items():
            drawn[name] = drawn[name] + shift
        if self.flipped is not None:
            column = drawn[self.flipped]
            low, high = column.cat.categories[0], column.cat.categories[-1]
            share = float((column == low).mean())
            drawn.loc[(column == low) & (rng.random(n) < 0.15 / max(share, 0.15)), self.flipped] = high
        return drawn


def spoil(model: CovariateModel, table: pd.DataFrame) -> Spoilt:
    """Spoil a fitted model: see :class:`Spoilt`."""
    numeric = [name for name in table.columns if not isinstance(table[name].dtype, pd.CategoricalDtype) and table[name].nunique() > 2]
    coins = [name for name in table.columns if isinstance(table[name].dtype, pd.CategoricalDtype) and len(table[name].cat.categories) == 2]
    return Spoilt(model, {name: 0.5 * float(table[name].std()) for name in numeric}, coins[0] if coins else None)
