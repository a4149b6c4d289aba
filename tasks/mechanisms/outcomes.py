"""Drawing all outcomes of a block of rows whose covariates and treatments are drawn."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.contract.nuisance import Float64, Int8, Predictions
from tasks.mechanisms.balanced import balanced_outcome
from tasks.mechanisms.clusters import ClusterLaw, Intp, draw_alike
from tasks.mechanisms.draw import clipped, draw_outcome
from tasks.mechanisms.joint import OutcomeDesign, draw_together
from tasks.mechanisms.joint_clusters import draw_in_clusters
from tasks.mechanisms.model import Mechanisms
from tasks.mechanisms.presence import Mask, draw_presence
from tasks.mechanisms.ranks import RankLaw
from tasks.nuisance.bounds import EDGE


class Within(NamedTuple):
    """Clusters of rows: how they hang together, and the number of each row's cluster, from 0, shape (n,)."""

    law: ClusterLaw
    place: Intp


def draw_outcomes(
    mechanisms: Mechanisms,
    a: Int8,
    designed: Predictions,
    covariates: pd.DataFrame,
    balanced: bool,
    complete: bool,
    rng: np.random.Generator,
    outcome_range: tuple[float, float] | None = None,
    within: Within | None = None,
) -> Float64:
    """Draw the outcomes of rows, and which of them are missing.

    Parameters
    ----------
    mechanisms : Mechanisms
        The laws of all outcomes, and how they hang together.
    a : ndarray of int8, shape (n,)
        Drawn treatments.
    designed : Predictions
        Propensities of the release's own design, targeted Q*, chances to be known.
    covariates : DataFrame, n rows
        Canonical.
    balanced : bool
        Whether draws are balanced rather than independent.
    complete : bool
        Whether every outcome is released, where some of the source's are missing.
    rng : numpy.random.Generator
    outcome_range : tuple of two float, optional
        Declared range of the first outcome.
    within : Within, optional
        Where rows come in clusters: outcomes depend on one another within them.

    Returns
    -------
    ndarray of float64, shape (n, p)
        NaN where missing.
    """
    if mechanisms.plain:
        if within is not None:
            y = draw_alike(mechanisms.law, a, designed.first, covariates, within.place, within.law, balanced, rng)
            return clipped(y, outcome_range).y[:, None]
        if not balanced:
            return draw_outcome(mechanisms.law, a, designed.first, covariates, rng, outcome_range).y[:, None]
        return clipped(balanced_outcome(mechanisms.law, a, designed.first, covariates, rng), outcome_range).y[:, None]
    present = np.ones((len(a), len(designed.outcomes)), dtype=bool)
    if mechanisms.presence is not None and not complete:
        present = draw_presence(mechanisms.presence, a, designed, balanced, rng)
    designs = [_design(mechanisms, number, a, designed, present, complete) for number in range(len(designed.outcomes))]
    ranks = mechanisms.ranks or RankLaw((np.eye(1),) * designed.first.arms)
    if within is None:
        y = draw_together(designs, a, covariates, ranks, balanced, rng)
    else:
        y = draw_in_clusters(designs, a, covariates, ranks, within.place, within.law, balanced, rng)
    y[:, 0] = clipped(y[:, 0], outcome_range).y
    return np.where(present, y, np.nan)


def _design(mechanisms: Mechanisms, number: int, a: Int8, designed: Predictions, present: Mask, complete: bool) -> OutcomeDesign:
    """Return what one outcome is drawn from; a row without it weighs nothing."""
    nuisances, chances = designed.of(number), None if complete else designed.chances(number)
    chance = np.choose(a, nuisances.propensities) * (1.0 if chances is None else np.choose(a, chances))
    weight = np.where(present[:, number], 1.0 / np.clip(chance, EDGE, 1.0), 0.0)
    return OutcomeDesign(mechanisms.every[number].law, nuisances.observed(a), weight)
