"""ATO: the overlap-weighted effect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from tasks.contract.errors import EstimationError
from tasks.targeting.influence import Influence, InfluenceEstimator, Rows, effective_size


class Params(BaseModel):
    """ATO has no parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class OverlapEffect(InfluenceEstimator):
    """ATO = E[g(1-g) tau(W)] / E[g(1-g)] (Li, Morgan, Zaslavsky 2018, DOI 10.1080/01621459.2016.1260466).

    The estimand moves with g, so its efficient influence function has a term for the error of g (Crump, Hotz, Imbens, Mitnik
    2006, NBER technical paper 330): h phi + h' (A - g) tau, with h = g(1-g). Summed up, everything collapses to the residual form of
    Robinson (1988), DOI 10.2307/1912705, with m = g Q1 + (1-g) Q0:

        ATO = sum (A - g)(Y - m) / sum (A - g)^2,   values ((A - g)(Y - m) - (A - g)^2 ATO) / mean (A - g)^2.

    Nothing is divided by g, so nothing is truncated and ``clipped`` is 0. Weights, for the effective size: 1-g for the
    treated, g for controls.
    """

    def influence(self, rows: Rows) -> Influence:
        """Return the estimate and its influence values."""
        p0 = 1.0 - rows.g
        p1 = 1.0 - p0  # exact complements, see tasks.targeting.fluctuation.truncate
        tilt = rows.treated * p0 - rows.control * p1
        spread = rows.mean(tilt**2)
        if spread < np.finfo(np.float64).tiny:
            raise EstimationError(
                "overlap of the rows must be above 0; got g = A in every row.", "Choose another estimand or a coarser learner."
            )
        numerator = tilt * (rows.y - (p1 * rows.q1 + p0 * rows.q0))
        point = rows.mean(numerator) / spread
        values = (numerator - tilt**2 * point) / spread
        return Influence("ato", "aipw", point, values, effective_size(rows.weights * np.abs(tilt)), 0.0)


def build(params: Params) -> OverlapEffect:
    """Return the estimator."""
    del params
    return OverlapEffect()
