"""Adaptive TMLE: targeting goes as far as overlap lets it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from tasks.targeting.influence import Influence, InfluenceEstimator, effective_size, inverse_weights, pseudo_outcomes
from tasks.targeting.sample import Rows


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
        chosen, stars = rows.sample.adaptive
        targeted = rows.at(stars)
        point = rows.mean(targeted.q1 - targeted.q0)
        ess = effective_size(rows.weights * inverse_weights(rows))
        if chosen.bound == chosen.full:
            return Influence("ate", "adaptive", point, pseudo_outcomes(targeted) - point, ess, rows.clipped)
        # about the full TMLE's own pseudo-outcomes: those of the chosen bound leave out the variance of what was not targeted
        values = pseudo_outcomes(targeted)
        values = values - rows.mean(values)
        variance = rows.mean(rows.weights * values**2) / len(rows.y)
        if variance > 0.0:
            values = values * np.sqrt(1.0 + chosen.excess / variance)
        return Influence("ate", "adaptive", point, values, ess, rows.clipped_at(chosen.bound))


def build(params: Params) -> AdaptiveLikelihood:
    """Return the estimator."""
    del params
    return AdaptiveLikelihood()
