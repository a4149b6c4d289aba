"""The law that data sets are drawn from: covariate rows with their mechanisms, and the truth about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from tasks.contract.columns import conform, nuisances_of
from tasks.contract.errors import SpecError
from tasks.contract.frames import to_frame
from tasks.contract.nuisance import Float64, Int8, Nuisances
from tasks.contract.roles import Column, TableSchema
from tasks.contract.spec import MechanismsSpec
from tasks.mechanisms.draw import clipped, designed, draw_treatment
from tasks.mechanisms.laws.protocol import OutcomeLaw
from tasks.mechanisms.targets import overlap_weight
from tasks.simulation.contrasts import COMPLETE, Contrast, Effect, contrasts
from tasks.simulation.grid import Cell

#: Distance that scaled probabilities (and rates) keep from the ends of their range.
EDGE = 1e-6


class Truth(NamedTuple):
    """An effect of the law itself, with the Monte-Carlo standard error of the covariate rows it is averaged over."""

    value: float
    se: float


@dataclass(frozen=True)
class Data:
    """One data set: covariates as estimators see them (n rows), treatment 0, ..., K - 1, outcome, each (n,); and K."""

    covariates: pd.DataFrame
    a: Int8
    y: Float64
    arms: int = 2


@dataclass(frozen=True)
class Population:
    """Calibrated covariate rows, all equally likely, with what the mechanisms say of them.

    Attributes
    ----------
    covariates : DataFrame, N rows
        Canonical.
    nuisances : Nuisances
        Of K arms: P(A = k | W) as fitted, and Q*k; each of shape (N,).
    law : OutcomeLaw
        Y around Q*.
    kind : str
        ``"binary"``, ``"continuous"`` or ``"count"``.
    columns : tuple of Column
        The covariates'.
    outcome : Column
        The outcome's.
    labels : tuple of K str
        The arms, the control first.
    mechanisms : MechanismsSpec
        Shares of the randomized design.
    outcome_range : tuple of two float, or None
        What outcomes are clipped to, where declared.
    """

    covariates: pd.DataFrame
    nuisances: Nuisances
    law: OutcomeLaw
    kind: str
    columns: tuple[Column, ...]
    outcome: Column
    labels: tuple[str, ...]
    mechanisms: MechanismsSpec
    outcome_range: tuple[float, float] | None = None

    @property
    def units(self) -> npt.NDArray[np.intp] | None:
        """Number of each row's cluster, shape (N,); None where rows come in none."""
        return None

    @property
    def names(self) -> tuple[str | None, ...]:
        """Names of the outcomes; None of one."""
        return (None,)

    @property
    def incomplete(self) -> tuple[str | None, ...]:
        """Those of the outcomes that some rows lack."""
        return ()

    def compared(self, estimator: str = "") -> list[Contrast]:
        """Return what an estimator compares, in the order of its answers: outcome by outcome, pair by pair of arms."""
        names = self.incomplete if estimator == COMPLETE else self.names
        return [contrast for name in names for contrast in contrasts(self.labels, estimator, name)]

    def without_noise(self) -> Population | None:
        """Return the law whose residuals take no factor; None where they do."""
        return None if self.kind == "continuous" and self.law.key == "scale" else self

    def scaled(self, scale: float) -> tuple[Float64, ...]:
        """Return Qk = Q*0 + scale (Q*k - Q*0) of every arm k, held inside the outcome's range, K arrays of shape (N,)."""
        control, *others = self.nuisances.outcomes
        return (control, *(self._moved(control, other, scale) for other in others))

    def _moved(self, control: Float64, other: Float64, scale: float) -> Float64:
        if scale == 1.0:
            return other
        moved = control + scale * (other - control)
        if scale == 0.0:
            return moved
        if self.kind == "binary":
            return np.clip(moved, EDGE, 1.0 - EDGE)
        held = moved if self.law.reach is None else np.clip(moved, *self.law.reach)
        if self.kind == "count":
            return np.maximum(held, EDGE)
        return held if self.outcome_range is None else np.clip(held, *self.outcome_range)

    def source(self, nuisances: Nuisances, scale: float, noise: float, visible: tuple[str, ...]) -> Source:  # noqa: ARG002
        """Return the law of a cell, whose nuisances know the scale of the effect already."""
        return Source(self, nuisances, noise, visible)

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
    schema: TableSchema, rows: pa.Table, law: OutcomeLaw, mechanisms: MechanismsSpec, outcome_range: tuple[float, float] | None
) -> Population:
    """Return the law of drawn rows: canonical, with their nuisances beside; the other arguments are attributes of it."""
    nuisances = Nuisances(*(np.array(values) for values in nuisances_of(rows)))
    covariates = pd.DataFrame(to_frame(rows, schema.modelled)).reset_index(drop=True)
    return Population(
        covariates, nuisances, law, schema.outcome_kind, schema.modelled, schema.outcome, schema.arms, mechanisms, outcome_range
    )


@dataclass(frozen=True)
class Source:
    """The law of one cell: a population under the cell's design and effect.

    Attributes
    ----------
    population : Population
    nuisances : Nuisances
        P(A = k | W) of the design and the scaled Qk of each row of the population, each of shape (N,).
    noise : float
        Factor on residuals.
    visible : tuple of str
        Ids of the covariates that estimators see.
    """

    population: Population
    nuisances: Nuisances
    noise: float
    visible: tuple[str, ...]

    @property
    def parts(self) -> Sequence[tuple[str | None, Nuisances]]:
        """Every outcome's name, with the design's propensities and its Q."""
        return [(None, self.nuisances)]

    def draw(self, n: int, rng: np.random.Generator) -> Data:
        """Draw one data set of n rows."""
        law = self.population
        rows = rng.integers(len(law.covariates), size=n)
        covariates = law.covariates.take(rows).reset_index(drop=True)
        here = Nuisances(*(values[rows] for values in self.nuisances))
        a = draw_treatment(here, rng)
        mean = here.observed(a)
        y = law.law.draw(a, mean, covariates, rng)
        return Data(covariates[list(self.visible)], a, self.shown(law, mean, y), here.arms)

    def shown(self, law: Population, mean: Float64, y: Float64) -> Float64:
        """Return an outcome as it stands in a table: residuals times the cell's factor, inside the declared range, rounded."""
        scaled = y if self.noise == 1.0 else mean + self.noise * (y - mean)
        held = clipped(scaled, law.outcome_range).y
        return np.array(conform(law.outcome, pa.array(held)).to_numpy(zero_copy_only=False), dtype=np.float64)


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
    rigid = population.without_noise()
    if cell.noise != 1.0 and rigid is not None:
        shape = "n outcome with atoms, bounds or a grid" if rigid.kind == "continuous" else f" {rigid.kind} outcome"
        raise SpecError(
            f"noise of simulate must be [1.0] for a{shape}; got {cell.noise:g}.",
            "Its spread follows from its mean: scale the effect instead (effect_scales).",
        )
    hidden = population.hidden(cell.withheld)
    design = {"treatment": cell.design, "tilt": 1.0 if cell.tilt is None else cell.tilt}
    under = designed(population.nuisances, population.mechanisms.model_copy(update=design), population.labels)
    scaled = Nuisances(*under[: under.arms - 1], *population.scaled(cell.effect_scale))
    visible = tuple(column.id for column in population.columns if column.id != hidden)
    return population.source(scaled, cell.effect_scale, cell.noise, visible)


def truths(source: Source) -> Mapping[Effect, Truth]:
    """Return the effects of a cell's law, from its mechanisms and no estimator.

    For arms k and c, with tau = Qk - Qc and p the design's P(A = k | W): E[tau] (ATE), and sum h tau / sum h with h = p_k (ATT),
    p_0 (ATC), 1 / sum_j 1/p_j (ATO; of two arms p (1 - p)), over the population's rows. ATT and ATC compare with the control only.
    Data sets are sampled from these very rows, so the figures are exact for what estimators are tried on; the standard error,
    sqrt(sum h^2 (tau - mean)^2) / sum h, says how far they may lie from those of the law that the rows were drawn from.

    Returns
    -------
    mapping of Effect to Truth
        In units of the outcome.
    """
    labels, values, units = source.population.labels, {}, source.population.units
    for name, nuisances in source.parts:
        p, q = nuisances.propensities, nuisances.outcomes
        overlap = p[1] * p[0] if len(p) == 2 else overlap_weight(p)
        for contrast in contrasts(labels, outcome=name):
            arm, control = contrast.places(labels)
            weights = {"ate": np.ones_like(overlap), "att": p[arm], "atc": p[0], "ato": overlap}
            for estimand, weight in weights.items():
                if control == 0 or estimand in ("ate", "ato"):
                    values[Effect(estimand, contrast)] = _weighted(q[arm] - q[control], weight, units)
    return values


def _weighted(tau: Float64, weight: Float64, units: npt.NDArray[np.intp] | None) -> Truth:
    total = float(weight.sum())
    value = float(weight @ tau) / total
    rest = weight * (tau - value)
    parts = rest if units is None else np.bincount(units, weights=rest)
    return Truth(value, float(np.sqrt(np.sum(parts**2))) / total)
