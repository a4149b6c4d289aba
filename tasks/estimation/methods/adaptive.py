"""Adaptive TMLE: targeting goes as far as overlap lets it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from tasks.targeting.fluctuation import truncate
from tasks.targeting.influence import Influence, InfluenceEstimator, Rows, effective_size, inverse_weights, pseudo_outcomes
from tasks.targeting.truncation import choose_truncation


class Params(BaseModel):
    """Adaptive TMLE has no parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class AdaptiveLikelihood(InfluenceEstimator):
    """TMLE whose truncation is chosen by :func:`tasks.targeting.truncation.choose_truncation`: the estimate that a release carries.

    Where overlap suffices it is the TMLE, to the last bit. Where it does not, the point is that of the chosen truncation, and the
    standard error that of the full TMLE with the squared bias that the choice may leave added:
    se^2 = se_full^2 + max(0, change^2 - change_se^2).
    """

    def influence(self, rows: Rows) -> Influence:
        """Return the targeted plug-in; influence values of the full TMLE, scaled so that their error is the one above."""
        a, given = rows.treated.astype(np.int8), rows.nuisances()
        chosen, step = choose_truncation(a, rows.y, given, rows.kind, rows.truncation, rows.weights)
        star0, star1 = step.apply(*given)
        point = rows.mean(star1 - star0)
        ess = effective_size(rows.weights * inverse_weights(rows))
        if chosen.bound == chosen.full:
            return Influence("ate", "adaptive", point, pseudo_outcomes(rows._replace(q0=star0, q1=star1)) - point, ess, rows.clipped)
        # about the full TMLE's own pseudo-outcomes: those of the chosen bound leave out the variance of what was not targeted
        values = pseudo_outcomes(rows._replace(q0=star0, q1=star1))
        values = values - rows.mean(values)
        variance = rows.mean(rows.weights * values**2) / len(rows.y)
        if variance > 0.0:
            values = values * np.sqrt(1.0 + chosen.excess / variance)
        p0, _ = truncate(rows.g, chosen.bound)
        clipped = rows.mean((p0 != 1.0 - rows.g).astype(np.float64))
        return Influence("ate", "adaptive", point, values, ess, clipped)


def build(params: Params) -> AdaptiveLikelihood:
    """Return the estimator."""
    del params
    return AdaptiveLikelihood()
