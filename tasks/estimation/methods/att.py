"""ATT: the effect among the treated."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from tasks.contract.nuisance import Float64
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

    Where outcomes are missing it is the effect among all treated rows, with or without outcome: with delta = 1(Y is known) and
    pi_k = P(delta = 1 | A = k, W),

        sum [ A (Q1 - Q0) + A delta / pi_1 (Y - Q1) - (1-A) delta g / ((1-g) pi_0) (Y - Q0) ] / sum A,

    which is the form above where all are known.
    """

    def influence(self, rows: Rows) -> Influence:
        """Return the estimate and its influence values."""
        whole = rows.sample.treatment
        if whole is not None:
            return on_arm(rows, "att", rows.arm, whole.p[rows.arm])
        odds = rows.control * rows.p1 / rows.p0
        share = rows.mean(rows.treated)
        numerator = (rows.treated - odds) * (rows.y - rows.q0)
        point = rows.mean(numerator) / share
        values = (numerator - rows.treated * point) / share
        return Influence("att", "aipw", point, values, effective_size(rows.weights * (rows.treated + odds)), rows.clipped)


def on_arm(rows: Rows, estimand: str, arm: int, p: Float64) -> Influence:
    """Return the effect among all rows of an arm, whose propensity is p, where some of them lack the outcome."""
    members = rows.members(arm)
    share = rows.mean(members)
    numerator = members * (rows.q1 - rows.q0) + rows.residuals(p)
    point = rows.mean(numerator) / share
    weights = p * (rows.treated / rows.p1 + rows.control / rows.p0)
    return Influence(estimand, "aipw", point, (numerator - members * point) / share, effective_size(rows.weights * weights), rows.clipped)


def build(params: Params) -> EffectOnTreated:
    """Return the estimator."""
    del params
    return EffectOnTreated()
