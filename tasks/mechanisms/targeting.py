"""Targeting: Q is moved until its plug-in effect is the efficient estimate on the source."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from tasks.contract.nuisance import Float64, Int8, Nuisances
from tasks.numerics.blocked import kept
from tasks.targeting.fluctuation import Fluctuation, fluctuate, truncate_arms
from tasks.targeting.truncation import Truncation, choose_truncation

Rule = Literal["adaptive", "full"]


class Targeting(NamedTuple):
    """A targeted Q on the source rows.

    Attributes
    ----------
    fluctuation : Fluctuation
        The fitted step, for any other rows.
    outcomes : tuple of K ndarray of float64, shape (n,)
        Out-of-fold Q* of every arm at the source rows, in units of the outcome.
    truncation : Truncation
        How far the step went, and why.
    ate, se : float
        Mean of Q*1 - Q*0 and its standard error, in units of the outcome: that of the full TMLE's influence values, with the squared
        bias that stronger truncation may have left. Of more than two arms: of the first beside the control.
    """

    fluctuation: Fluctuation
    outcomes: tuple[Float64, ...]
    truncation: Truncation
    ate: float
    se: float

    @property
    def q0(self) -> Float64:
        """Q* of the control."""
        return self.outcomes[0]

    @property
    def q1(self) -> Float64:
        """Q* of the treated arm, of more than two the first."""
        return self.outcomes[1]


def target(
    a: Int8,
    y: Float64,
    nuisances: Nuisances,
    kind: str,
    truncation: float,
    weights: Float64 | None = None,
    rule: Rule = "adaptive",
    directions: Float64 | None = None,
    bounds: tuple[float, float] | None = None,
    main: bool = True,
) -> Targeting:
    """Fluctuate out-of-fold Q by one epsilon per arm (CV-TMLE), and by one more for each further estimand.

    Parameters
    ----------
    a : ndarray of int8, shape (n,)
        Treatment, 0, ..., K - 1.
    y : ndarray of float64, shape (n,)
        Outcome.
    nuisances : Nuisances
        Out-of-fold predictions.
    kind : {"binary", "continuous", "count"}
        Kind of the outcome.
    truncation : float
        d of full targeting: propensities are kept in [d, 1-d].
    weights : ndarray of float64, shape (n,), optional
        Row weights.
    rule : {"adaptive", "full"}
        Whether poor overlap may raise d: :func:`tasks.targeting.truncation.choose_truncation`.
    directions : ndarray of float64, shape (n, k), optional
        :meth:`tasks.mechanisms.targets.Targets.directions` of the same rows. With them the plug-in effects of those estimands solve
        their efficient score equations too.
    bounds : tuple of two float, optional
        Range of Q*: the means that the outcome's law can have, :func:`tasks.mechanisms.laws.choice.attainable`.
    main : bool
        Whether the ATE is a target. Without it there is no weight 1/g to be truncated, and ``directions`` are all there is.

    Returns
    -------
    Targeting

    References
    ----------
    Zheng, van der Laan (2010), Asymptotic theory for cross-validated targeted maximum likelihood estimation, working paper 273,
    Division of Biostatistics, University of California, Berkeley.
    """
    step: Fluctuation | None = None
    chosen = Truncation(truncation, truncation, 1.0, 0.0, 0.0, 0.0, "overlap suffices")
    if main and rule == "adaptive":
        chosen, step = choose_truncation(a, y, nuisances, kind, truncation, weights, bounds)
    if step is None or directions is not None:
        step = fluctuate(a, y, nuisances, kind, chosen.bound if main else 0.0, weights, directions, bounds, main)
    stars = kept(*step.apply(nuisances, directions))
    ate = float(np.average(stars[1] - stars[0], weights=weights))
    p = truncate_arms(nuisances, truncation)
    residual = np.where(a == 1, (y - stars[1]) / p[1], np.where(a == 0, -(y - stars[0]) / p[0], 0.0))
    influence = stars[1] - stars[0] - ate + residual
    share = np.full_like(y, 1.0 / len(y)) if weights is None else weights / weights.sum()
    # a row of weight w contributes (w / sum w) times its influence value: the variance is the sum of those squares
    influence = influence - float(share @ influence)
    se = float(np.sqrt(np.sum((share * influence) ** 2) + chosen.excess))
    return Targeting(step, stars, chosen, ate, se)
