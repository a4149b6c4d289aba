"""ATT: the effect among the treated."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from tasks.targeting.influence import Influence, InfluenceEstimator, effective_size
from tasks.targeting.sample import Rows


class Params(BaseModel):
    """ATT has no parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class EffectOnTreated(InfluenceEstimator):
    """ATT = E[tau(W) | A = 1], AIPW form.

    mean(A (Y - Q0) - (1-A) g/(1-g) (Y - Q0)) / mean(A), with influence values (numerator - A ATT) / mean(A): Hahn (1998),
    DOI 10.2307/2998560. Weights, for the effective size: 1 for the treated, g/(1-g) for controls.
    """

    def influence(self, rows: Rows) -> Influence:
        """Return the estimate and its influence values."""
        odds = rows.control * rows.p1 / rows.p0
        share = rows.mean(rows.treated)
        numerator = (rows.treated - odds) * (rows.y - rows.q0)
        point = rows.mean(numerator) / share
        values = (numerator - rows.treated * point) / share
        return Influence("att", "aipw", point, values, effective_size(rows.weights * (rows.treated + odds)), rows.clipped)


def build(params: Params) -> EffectOnTreated:
    """Return the estimator."""
    del params
    return EffectOnTreated()
