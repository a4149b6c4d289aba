"""IPW: inverse-probability weighting with weights normalised in each arm (Hajek)."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from tasks.targeting.influence import Influence, InfluenceEstimator, effective_size, inverse_weights
from tasks.targeting.sample import Rows


class Params(BaseModel):
    """IPW has no parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class InverseWeighting(InfluenceEstimator):
    """ATE = sum(A Y/g) / sum(A/g) - sum((1-A) Y/(1-g)) / sum((1-A)/(1-g)).

    Influence function, for known g: A (Y - mu1) / (g mean(A/g)) - (1-A) (Y - mu0) / ((1-g) mean((1-A)/(1-g))).
    For a g fitted by maximum likelihood it gives an interval that is too wide rather than too narrow (Lunceford,
    Davidian 2004, DOI 10.1002/sim.1903).
    """

    def influence(self, rows: Rows) -> Influence:
        """Return the Hajek estimate and its influence values."""
        one, zero = rows.treated / rows.p1, rows.control / rows.p0
        # without a reference there is no second mean to normalise
        mass1, mass0 = rows.mean(one), rows.mean(zero) if rows.reference is not None else 1.0
        mu1, mu0 = rows.mean(one * rows.y) / mass1, rows.mean(zero * rows.y) / mass0
        values = one * (rows.y - mu1) / mass1 - zero * (rows.y - mu0) / mass0
        ess = effective_size(rows.weights * inverse_weights(rows))
        return Influence("ate", "ipw", mu1 - mu0, values, ess, rows.clipped)


def build(params: Params) -> InverseWeighting:
    """Return the estimator."""
    del params
    return InverseWeighting()
