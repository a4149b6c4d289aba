"""ATC: the effect among the controls."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from tasks.estimation.methods.att import on_arm
from tasks.targeting.influence import Influence, InfluenceEstimator, effective_size
from tasks.targeting.sample import Rows


class Params(BaseModel):
    """ATC has no parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class EffectOnControls(InfluenceEstimator):
    """ATC = E[tau(W) | A = 0], AIPW form: minus the ATT with the two arms swapped.

    mean(A (1-g)/g (Y - Q1) - (1-A) (Y - Q1)) / mean(1-A), with influence values (numerator - (1-A) ATC) / mean(1-A): Hahn
    (1998), DOI 10.2307/2998560. Weights, for the effective size: 1 for controls, (1-g)/g for the treated.
    Where outcomes are missing: :class:`tasks.estimation.methods.att.EffectOnTreated`, of the other arm.
    """

    def influence(self, rows: Rows) -> Influence:
        """Return the estimate and its influence values."""
        whole = rows.sample.treatment
        if whole is not None and rows.reference is not None:
            return on_arm(rows, "atc", rows.reference, whole.p[rows.reference])
        odds = rows.treated * rows.p0 / rows.p1
        share = rows.mean(rows.control)
        numerator = (odds - rows.control) * (rows.y - rows.q1)
        point = rows.mean(numerator) / share
        values = (numerator - rows.control * point) / share
        return Influence("atc", "aipw", point, values, effective_size(rows.weights * (rows.control + odds)), rows.clipped)


def build(params: Params) -> EffectOnControls:
    """Return the estimator."""
    del params
    return EffectOnControls()
