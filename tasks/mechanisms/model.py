"""The fitted mechanisms: what every released row's A and Y come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from tasks.contract.fluctuation import Fluctuation
from tasks.contract.nuisance import Float64, Nuisances
from tasks.mechanisms.crossfit import FoldModel
from tasks.mechanisms.residuals import OutcomeLaw
from tasks.mechanisms.targeting import Targeting

_MARGIN = 1e-12  # distance from the bounds at which a logit is still exact enough to be moved back


@dataclass(frozen=True)
class Mechanisms:
    """g and the targeted Q* of any covariate rows, and the law of Y around Q*.

    Predictions are the means over the fold models, fluctuated by the epsilons that were fitted out of fold, then
    shifted by one offset per arm on the logit scale of ``(Q - low) / (high - low)``.

    What is exact: the mean over the source rows (with the weights they were fitted with) of Q*1, of Q*0 and so of Q*1 - Q*0 as
    predicted here equals the mean of the out-of-fold targeted predictions, which is the TMLE. What is not: a
    single row's prediction here differs from its out-of-fold one, for most fold models have seen the row.

    Attributes
    ----------
    models : tuple of FoldModel
        One per fold.
    fluctuation : Fluctuation
        The targeting step.
    offsets : tuple of two float
        Of the control and the treated arm; 0 would say that averaging changed no arm's mean.
    law : OutcomeLaw
        Y around Q*.
    kind : str
        ``"binary"``, ``"continuous"`` or ``"count"``.
    """

    models: tuple[FoldModel, ...]
    fluctuation: Fluctuation
    offsets: tuple[float, float]
    law: OutcomeLaw
    kind: str

    def predict(self, covariates: pd.DataFrame) -> Nuisances:
        """Return g, Q*0 and Q*1 of canonical covariates, each of shape (n,)."""
        return self.anchored(averaged(self.models, covariates))

    def anchored(self, raw: Nuisances) -> Nuisances:
        """Return g, Q*0 and Q*1 of rows whose :func:`averaged` predictions are known already."""
        return _shifted(raw, self.fluctuation, self.offsets)

    def truth(self, covariates: pd.DataFrame) -> tuple[float, float]:
        """Return the mechanisms' own effect over a draw of covariates.

        Parameters
        ----------
        covariates : DataFrame, n rows
            A large draw from the covariate law.

        Returns
        -------
        tuple of two float
            Mean of Q*1 - Q*0 and its Monte-Carlo standard error.
        """
        return effect_of(self.predict(covariates))


def effect_of(nuisances: Nuisances) -> tuple[float, float]:
    """Return the mean of Q1 - Q0 and its Monte-Carlo standard error."""
    tau = nuisances.q1 - nuisances.q0
    return float(tau.mean()), float(tau.std(ddof=1) / np.sqrt(len(tau))) if len(tau) > 1 else float("inf")


def averaged(models: Sequence[FoldModel], covariates: pd.DataFrame) -> Nuisances:
    """Return the means of g, Q0 and Q1 over fold models, not targeted, each of shape (n,)."""
    total = Nuisances(np.zeros(len(covariates)), np.zeros(len(covariates)), np.zeros(len(covariates)))
    for model in models:
        for sum_, values in zip(total, model.predict(covariates)):
            sum_ += values
    return Nuisances(total.g / len(models), total.q0 / len(models), total.q1 / len(models))


def assemble(
    models: Sequence[FoldModel], targeting: Targeting, source: Nuisances, law: OutcomeLaw, kind: str, weights: Float64 | None = None
) -> Mechanisms:
    """Put the fitted parts together and anchor each arm's mean at its targeted one.

    Parameters
    ----------
    models : sequence of FoldModel
        One per fold.
    targeting : Targeting
        The targeted out-of-fold predictions of the source rows.
    source : Nuisances
        :func:`averaged` predictions of the same rows in the same order (partitions may be predicted apart and joined).
    law : OutcomeLaw
        Y around Q*.
    kind : str
        Kind of the outcome.
    weights : ndarray of float64, shape (n,), optional
        The row weights of the targeting.

    Returns
    -------
    Mechanisms
        Its means over the source rows equal those of ``targeting`` to rounding.
    """
    step = targeting.fluctuation
    _, star0, star1 = _shifted(source, step, (0.0, 0.0))
    offsets = tuple(
        _offset(star, float(np.average(goal, weights=weights)), step, weights)
        for star, goal in ((star0, targeting.q0), (star1, targeting.q1))
    )
    return Mechanisms(tuple(models), step, (offsets[0], offsets[1]), law, kind)


def _shifted(raw: Nuisances, step: Fluctuation, offsets: tuple[float, float]) -> Nuisances:
    star0, star1 = step.apply(*raw)
    return Nuisances(raw.g, _move(star0, offsets[0], step), _move(star1, offsets[1], step))


def _move(q: Float64, offset: float, step: Fluctuation) -> Float64:
    """Shift predictions on the logit scale of the fluctuation's range."""
    width = step.high - step.low
    unit = np.clip((q - step.low) / width, _MARGIN, 1.0 - _MARGIN)
    moved = 1.0 / (1.0 + np.exp(-(np.log(unit) - np.log1p(-unit) + offset)))
    return np.asarray(step.low + width * moved, dtype=np.float64)


def _offset(q: Float64, goal: float, step: Fluctuation, weights: Float64 | None) -> float:
    """Find the shift at which the mean prediction is the goal; the mean rises strictly with it, so it is unique."""

    def miss(offset: float) -> float:
        return float(np.average(_move(q, offset, step), weights=weights)) - goal

    reach = 1.0
    while reach < 64.0 and miss(-reach) * miss(reach) > 0.0:
        reach *= 2.0
    if miss(-reach) * miss(reach) > 0.0:
        # a goal on the very edge of the range (all outcomes of an arm alike): predictions are there already
        return 0.0
    return float(brentq(miss, -reach, reach, xtol=1e-15, rtol=8.9e-16, maxiter=200))
