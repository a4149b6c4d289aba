"""A small law to try estimators on, without a fit: everything about it is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.contract.nuisance import Float64, Int8, Nuisances
from tasks.contract.registry import resolve
from tasks.contract.roles import Column, pack_field
from tasks.contract.spec import MechanismsSpec
from tasks.simulation.grid import Cell
from tasks.simulation.population import Population
from tasks.simulation.replicate import Method

CELL = Cell(200, "fitted", None, 1.0, None, 1.0, "glm")


class Coin:
    """Y ~ Bernoulli(mean)."""

    key, reach = "binary", (0.0, 1.0)

    def draw(self, a: Int8, mean: Float64, covariates: pd.DataFrame, rng: np.random.Generator) -> Float64:
        return (rng.random(len(mean)) < mean).astype(np.float64)


class Normal:
    """Y ~ Normal(mean, 1)."""

    key, reach = "scale", None

    def draw(self, a: Int8, mean: Float64, covariates: pd.DataFrame, rng: np.random.Generator) -> Float64:
        return mean + rng.normal(size=len(mean))


def column(name: str, at: str, role: str = "covariate", **more: object) -> Column:
    return Column.model_validate(
        {"id": at, "name": name, "role": role, "kind": "continuous", "field": pack_field(pa.field(name, pa.float64()))} | more
    )


def population(kind: str = "continuous", rows: int = 4_000, strength: float = 1.0) -> Population:
    """Return a law with two numeric covariates and a category; "age" drives treatment and outcome."""
    rng = np.random.default_rng(3)
    age, size = rng.normal(size=rows), rng.normal(size=rows)
    site = pd.Categorical(rng.choice(["north", "south"], rows), categories=["north", "south"])
    g = 1.0 / (1.0 + np.exp(-strength * age))
    linear = 0.8 * age + 0.2 * size
    if kind == "binary":
        q0, q1 = 1.0 / (1.0 + np.exp(-linear)), 1.0 / (1.0 + np.exp(-linear - 0.8))
    elif kind == "count":
        q0, q1 = np.exp(0.3 * linear), np.exp(0.3 * linear + 0.4)
    else:
        q0, q1 = linear, linear + 1.0 + 0.5 * age
    return Population(
        covariates=pd.DataFrame({"w0": age, "w1": size, "w2": site}),
        nuisances=Nuisances(g, q0, q1),
        law=Coin() if kind == "binary" else Normal(),
        kind=kind,
        columns=(column("age", "w0"), column("size", "w1"), column("site", "w2", kind="categorical", levels=("north", "south"))),
        outcome=column("score", "y", "outcome"),
        labels=("0", "1"),
        mechanisms=MechanismsSpec(),
    )


def three_arms(rows: int = 4_000) -> Population:
    """Return the continuous law with a third arm, whose effect is twice that of the second and which the young get more often."""
    two = population(rows=rows)
    age, (q0, q1) = two.covariates["w0"].to_numpy(), two.nuisances.outcomes
    scores = np.exp(np.column_stack((np.zeros(rows), 0.5 * age, -0.5 * age)))
    g = scores / scores.sum(axis=1, keepdims=True)
    return replace(two, nuisances=Nuisances(g[:, 1], g[:, 2], q0, q1, q0 + 2.0 * (q1 - q0)), labels=("none", "low", "high"))


def method(*estimators: str, learner: str = "glm", folds: int = 2) -> Method:
    """Return how data sets are analysed."""
    return Method(resolve("learner", learner), {name: resolve("estimator", name) for name in estimators}, folds, "auto")
