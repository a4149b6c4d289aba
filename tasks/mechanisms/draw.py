"""Drawing treatments and outcomes of released rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from tasks.contract.nuisance import Float64, Int8, Nuisances
from tasks.contract.spec import MechanismsSpec
from tasks.mechanisms.laws.protocol import OutcomeLaw
from tasks.nuisance.bounds import EDGE

Design = Literal["randomized", "fitted", "tilted"]


class DrawnOutcome(NamedTuple):
    """Drawn outcomes.

    Attributes
    ----------
    y : ndarray of float64, shape (n,)
        In units of the outcome.
    clipped : float
        Share of rows that were moved to a bound of the declared range, in [0, 1].
    """

    y: Float64
    clipped: float


def designed(nuisances: Nuisances, spec: MechanismsSpec, labels: Sequence[str]) -> Nuisances:
    """Return the same outcome regressions beside P(A~ = k | W~) of the release's design.

    Parameters
    ----------
    nuisances : Nuisances
        Of n drawn rows, with the fitted propensities.
    spec : MechanismsSpec
        The design; ``shares`` of the randomized one by label.
    labels : sequence of K str
        The arms, the control first.
    """
    if nuisances.arms == 2:
        probability = spec.shares[labels[1]] if spec.shares else spec.probability
        return nuisances.with_propensities(design_probability(nuisances.g, spec.treatment, probability, spec.tilt))
    if spec.treatment == "fitted":
        return nuisances
    n, arms = len(nuisances[0]), nuisances.arms
    if spec.treatment == "randomized":
        return nuisances.with_propensities(*(np.full(n, spec.shares.get(label, 1.0 / arms)) for label in labels[1:]))
    tilted = [np.maximum(p, EDGE) ** spec.tilt for p in nuisances.propensities]
    total = np.sum(tilted, axis=0)
    return nuisances.with_propensities(*(p / total for p in tilted[1:]))


def design_probability(g: Float64, design: Design, probability: float, tilt: float) -> Float64:
    """Return P(A~ = 1 | W~) under a design.

    Parameters
    ----------
    g : ndarray of float64, shape (n,)
        Fitted propensities, inside (0, 1).
    design : {"randomized", "fitted", "tilted"}
        ``probability``; g; or logit ``tilt * logit g``.
    probability : float
        Of the randomized design, in (0, 1).
    tilt : float
        Of the tilted design: 0 is a fair coin, below 1 relieves overlap, above 1 stresses it.

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    if design == "randomized":
        return np.full(len(g), float(probability))
    if design == "fitted":
        return np.array(g, dtype=np.float64)
    held = np.clip(g, EDGE, 1.0 - EDGE)
    logit = np.clip(tilt * (np.log(held) - np.log1p(-held)), -30.0, 30.0)
    return np.clip(1.0 / (1.0 + np.exp(-logit)), EDGE, 1.0 - EDGE)


def draw_treatment(nuisances: Nuisances, rng: np.random.Generator) -> Int8:
    """Draw treatments independently with P(A = k) of the design, shape (n,); one random number per row."""
    drawn = rng.random(len(nuisances[0]))
    if nuisances.arms == 2:
        return (drawn < nuisances.g).astype(np.int8)
    edges = np.cumsum(nuisances.propensities, axis=0)[:-1]
    return np.asarray((drawn >= edges).sum(axis=0), dtype=np.int8)


def draw_outcome(
    law: OutcomeLaw,
    a: Int8,
    nuisances: Nuisances,
    covariates: pd.DataFrame,
    rng: np.random.Generator,
    outcome_range: tuple[float, float] | None = None,
) -> DrawnOutcome:
    """Draw outcomes around the targeted Q*.

    Parameters
    ----------
    law : OutcomeLaw
        The fitted law around the mean.
    a : ndarray of int8, shape (n,)
        Drawn treatments.
    nuisances : Nuisances
        Targeted predictions of the drawn covariates.
    covariates : DataFrame, n rows
        The drawn covariates, canonical.
    rng : numpy.random.Generator
        Spent row by row.
    outcome_range : tuple of two float, optional
        Declared range. Fitted laws stay inside; those that an older release published are clipped, which moves means.

    Returns
    -------
    DrawnOutcome
    """
    return clipped(law.draw(a, nuisances.observed(a), covariates, rng), outcome_range)


def clipped(y: Float64, outcome_range: tuple[float, float] | None) -> DrawnOutcome:
    """Hold outcomes in a declared range."""
    if outcome_range is None:
        return DrawnOutcome(y, 0.0)
    held = np.clip(y, outcome_range[0], outcome_range[1])
    return DrawnOutcome(held, float(np.mean(held != y)) if len(y) else 0.0)
