"""TMLE: targeted maximum likelihood on cross-fitted nuisances (CV-TMLE)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from tasks.targeting.fluctuation import fluctuate
from tasks.targeting.influence import Influence, InfluenceEstimator, Rows, effective_size, inverse_weights, pseudo_outcomes


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
        given = rows.nuisances()
        fluctuation = fluctuate(rows.treated.astype(np.int8), rows.y, given, rows.kind, rows.truncation, rows.weights)
        star0, star1 = fluctuation.apply(given.g, given.q0, given.q1)
        point = rows.mean(star1 - star0)
        values = pseudo_outcomes(rows._replace(q0=star0, q1=star1)) - point
        ess = effective_size(rows.weights * inverse_weights(rows))
        return Influence("ate", "tmle", point, values, ess, rows.clipped)


def build(params: Params) -> TargetedLikelihood:
    """Return the estimator."""
    del params
    return TargetedLikelihood()
