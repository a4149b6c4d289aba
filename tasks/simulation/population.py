"""The law that data sets are drawn from: covariate rows with their mechanisms, and the truth about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.contract.columns import conform
from tasks.contract.errors import SpecError
from tasks.contract.frames import to_frame
from tasks.contract.nuisance import Float64, Int8
from tasks.contract.roles import Column, TableSchema
from tasks.mechanisms.draw import design_probability
from tasks.mechanisms.laws.protocol import OutcomeLaw
from tasks.simulation.grid import Cell

#: Distance that scaled probabilities (and rates) keep from the ends of their range.
EDGE = 1e-6


class Truth(NamedTuple):
    """An effect of the law itself, with the Monte-Carlo standard error of the covariate rows it is averaged over."""

    value: float
    se: float


@dataclass(frozen=True)
class Data:
    """One data set: covariates as estimators see them (n rows), treatment, outcome, each (n,)."""

    covariates: pd.DataFrame
    a: Int8
    y: Float64


@dataclass(frozen=True)
class Population:
    """Calibrated covariate rows, all equally likely, with what the mechanisms say of them.

    Attributes
    ----------
    covariates : DataFrame, N rows
        Canonical.
    g, q0, q1 : ndarray of float64, shape (N,)
        P(A = 1 | W) as fitted, Q*0 and Q*1.
    law : OutcomeLaw
        Y around Q*.
    kind : str
        ``"binary"``, ``"continuous"`` or ``"count"``.
    columns : tuple of Column
        The covariates'.
    outcome : Column
        The outcome's.
    probability : float
        P(A = 1) of the randomized design.
    outcome_range : tuple of two float, or None
        What outcomes are clipped to, where declared.
    """

    covariates: pd.DataFrame
    g: Float64
    q0: Float64
    q1: Float64
    law: OutcomeLaw
    kind: str
    columns: tuple[Column, ...]
    outcome: Column
    probability: float
    outcome_range: tuple[float, float] | None = None

    def scaled(self, scale: float) -> Float64:
        """Return Q1 = Q*0 + scale (Q*1 - Q*0), held inside the outcome's range, shape (N,)."""
        if scale == 1.0:
            return self.q1
        moved = self.q0 + scale * (self.q1 - self.q0)
        if scale == 0.0:
            return moved
        if self.kind == "binary":
            return np.clip(moved, EDGE, 1.0 - EDGE)
        held = moved if self.law.reach is None else np.clip(moved, *self.law.reach)
        if self.kind == "count":
            return np.maximum(held, EDGE)
        return held if self.outcome_range is None else np.clip(held, *self.outcome_range)

    def hidden(self, name: str | None) -> str | None:
        """Return the id of a covariate to be withheld; None where there is none.

        Raises
        ------
        SpecError
            If no covariate that varies has that name, or it is the only one.
        """
        if name is None:
            return None
        column_id = next((column.id for column in self.columns if column.name == name), None)
        if column_id is None or len(self.columns) < 2:
            names = ", ".join(column.name for column in self.columns)
            rule = "one of at least two covariates that vary"
            raise SpecError(f"withheld of simulate must be {rule}; got '{name}'.", f"Covariates that vary: {names}.")
        return column_id


def population_of(
    schema: TableSchema, rows: pa.Table, law: OutcomeLaw, probability: float, outcome_range: tuple[float, float] | None
) -> Population:
    """Return the law of drawn rows: canonical, with ``g``, ``q0`` and ``q1`` beside; the other arguments are attributes of it."""
    g, q0, q1 = (np.array(rows.column(name).to_numpy()) for name in ("g", "q0", "q1"))
    covariates = pd.DataFrame(to_frame(rows, schema.modelled)).reset_index(drop=True)
    return Population(covariates, g, q0, q1, law, schema.outcome_kind, schema.modelled, schema.outcome, probability, outcome_range)


@dataclass(frozen=True)
class Source:
    """The law of one cell: a population under the cell's design and effect.

    Attributes
    ----------
    population : Population
    p, q1 : ndarray of float64, shape (N,)
        P(A = 1 | W) of the design and the scaled Q1 of each row of the population.
    noise : float
        Factor on residuals.
    visible : tuple of str
        Ids of the covariates that estimators see.
    """

    population: Population
    p: Float64
    q1: Float64
    noise: float
    visible: tuple[str, ...]

    def draw(self, n: int, rng: np.random.Generator) -> Data:
        """Draw one data set of n rows."""
        law = self.population
        rows = rng.integers(len(self.p), size=n)
        covariates = law.covariates.take(rows).reset_index(drop=True)
        a = (rng.random(n) < self.p[rows]).astype(np.int8)
        mean = np.where(a == 1, self.q1[rows], law.q0[rows])
        y = law.law.draw(a, mean, covariates, rng)
        if self.noise != 1.0:
            y = mean + self.noise * (y - mean)
        if law.outcome_range is not None:
            y = np.clip(y, *law.outcome_range)
        rounded = np.array(conform(law.outcome, pa.array(y)).to_numpy(zero_copy_only=False), dtype=np.float64)
        return Data(covariates[list(self.visible)], a, rounded)


def source_of(population: Population, cell: Cell) -> Source:
    """Return the law of a cell.

    Parameters
    ----------
    population : Population
    cell : Cell

    Raises
    ------
    SpecError
        If the withheld covariate is not one, or noise is given for an outcome that is not continuous.
    """
    residual = population.kind == "continuous" and population.law.key == "scale"
    if cell.noise != 1.0 and not residual:
        shape = "n outcome with atoms, bounds or a grid" if population.kind == "continuous" else f" {population.kind} outcome"
        raise SpecError(
            f"noise of simulate must be [1.0] for a{shape}; got {cell.noise:g}.",
            "Its spread follows from its mean: scale the effect instead (effect_scales).",
        )
    hidden = population.hidden(cell.withheld)
    p = design_probability(population.g, cell.design, population.probability, 1.0 if cell.tilt is None else cell.tilt)
    visible = tuple(column.id for column in population.columns if column.id != hidden)
    return Source(population, p, population.scaled(cell.effect_scale), cell.noise, visible)


def truths(source: Source) -> Mapping[str, Truth]:
    """Return the effects of a cell's law, from its mechanisms and no estimator.

    With tau = Q1 - Q0 and p the design's P(A = 1 | W): E[tau], and sum h tau / sum h with h = p (ATT), 1 - p (ATC), p (1 - p)
    (ATO), over the population's rows. Data sets are sampled from these very rows, so the figures are exact for what estimators
    are tried on; the standard error, sqrt(sum h^2 (tau - mean)^2) / sum h, says how far they may lie from those of the law that
    the rows were drawn from.

    Returns
    -------
    mapping of str to Truth
        By estimand, in units of the outcome.
    """
    tau = source.q1 - source.population.q0
    weights = {"ate": np.ones_like(tau), "att": source.p, "atc": 1.0 - source.p, "ato": source.p * (1.0 - source.p)}
    values = {}
    for name, weight in weights.items():
        total = float(weight.sum())
        value = float(weight @ tau) / total
        values[name] = Truth(value, float(np.sqrt(np.sum((weight * (tau - value)) ** 2))) / total)
    return values
