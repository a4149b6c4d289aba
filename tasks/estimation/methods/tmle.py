"""TMLE: targeted maximum likelihood on cross-fitted nuisances (CV-TMLE)."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from tasks.targeting.influence import Influence, InfluenceEstimator, effective_size, inverse_weights, pseudo_outcomes
from tasks.targeting.sample import Rows


class Params(BaseModel):
    """TMLE has no parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class TargetedLikelihood(InfluenceEstimator):
    """ATE = mean(Q*1 - Q*0), SE from the efficient influence function at Q*.

    Q* is the logistic fluctuation of :func:`tasks.targeting.fluctuation.fluctuate`, one epsilon per arm over all folds:
    Zheng, van der Laan (2011), DOI 10.1007/978-1-4419-9782-1_27.
    """

    def influence(self, rows: Rows) -> Influence:
        """Return the targeted plug-in and the efficient influence values at Q*."""
        targeted = rows.at(rows.sample.targeted)
        point = rows.mean(targeted.q1 - targeted.q0)
        values = pseudo_outcomes(targeted) - point
        ess = effective_size(rows.weights * inverse_weights(rows))
        return Influence("ate", "tmle", point, values, ess, rows.clipped)


def build(params: Params) -> TargetedLikelihood:
    """Return the estimator."""
    del params
    return TargetedLikelihood()
