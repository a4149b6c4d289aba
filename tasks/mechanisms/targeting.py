"""Targeting: Q is moved until its plug-in effect is the efficient estimate on the source."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tasks.contract.fluctuation import Fluctuation, fluctuate, truncate
from tasks.contract.nuisance import Float64, Int8, Nuisances


class Targeting(NamedTuple):
    """A targeted Q on the source rows.

    Attributes
    ----------
    fluctuation : Fluctuation
        The fitted step, for any other rows.
    q0, q1 : ndarray of float64, shape (n,)
        Out-of-fold Q*0 and Q*1 of the source rows, in units of the outcome.
    strength : float
        Share of the fitted step that was taken, in [0, 1]; 1 is the TMLE.
    ate, se : float
        Mean of Q*1 - Q*0 and the standard error from its influence values, in units of the outcome.
    """

    fluctuation: Fluctuation
    q0: Float64
    q1: Float64
    strength: float
    ate: float
    se: float


def target(
    a: Int8, y: Float64, nuisances: Nuisances, kind: str, truncation: float, weights: Float64 | None = None, strength: float = 1.0
) -> Targeting:
    """Fluctuate out-of-fold Q by one epsilon per arm (CV-TMLE).

    Parameters
    ----------
    a : ndarray of int8, shape (n,)
        Treatment, 0 or 1.
    y : ndarray of float64, shape (n,)
        Outcome.
    nuisances : Nuisances
        Out-of-fold predictions.
    kind : {"binary", "continuous", "count"}
        Kind of the outcome.
    truncation : float
        d: propensities are kept in [d, 1-d]. Larger values import less of the variance of inverse weights.
    weights : ndarray of float64, shape (n,), optional
        Row weights.
    strength : float
        Share of each epsilon that is applied, in [0, 1]. 1 solves the efficient score equation; a rule that
        chooses less under poor overlap passes its choice here.

    Returns
    -------
    Targeting

    Raises
    ------
    ValueError
        If the strength is not in [0, 1].

    References
    ----------
    Zheng, van der Laan (2010), Asymptotic theory for cross-validated targeted maximum likelihood estimation, working paper 273,
    Division of Biostatistics, University of California, Berkeley.
    """
    if not 0.0 <= strength <= 1.0:
        raise ValueError(f"strength of targeting must be in [0, 1]; got {strength}.")
    full = fluctuate(a, y, nuisances, kind, truncation, weights)
    step = full._replace(epsilon0=strength * full.epsilon0, epsilon1=strength * full.epsilon1)
    q0, q1 = step.apply(*nuisances)
    ate = float(np.average(q1 - q0, weights=weights))
    p0, p1 = truncate(nuisances.g, truncation)
    influence = q1 - q0 - ate + np.where(a == 1, (y - q1) / p1, -(y - q0) / p0)
    share = np.full(len(y), 1.0 / len(y)) if weights is None else weights / weights.sum()
    # a row of weight w contributes (w / sum w) times its influence value: the variance is the sum of those squares
    se = float(np.sqrt(np.sum((share * influence) ** 2)))
    return Targeting(step, q0, q1, strength, ate, se)
