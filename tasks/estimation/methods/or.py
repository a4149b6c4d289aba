# ruff: noqa: N999 - the file name is the key users type, and they type "or"
"""OR: outcome regression, the plug-in of cross-fitted Q."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from tasks.targeting.influence import Influence, InfluenceEstimator, effective_size, inverse_weights, pseudo_outcomes
from tasks.targeting.sample import Rows


class Params(BaseModel):
    """OR has no parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class OutcomeRegression(InfluenceEstimator):
    """ATE = mean(Q1 - Q0).

    Its standard error is **AIPW's**, from the efficient influence function: a plug-in of a flexible learner has no
    influence function of its own. It is right where the error of Q is negligible, and too small where Q is biased.
    """

    def influence(self, rows: Rows) -> Influence:
        """Return the plug-in and AIPW's influence values."""
        phi = pseudo_outcomes(rows)
        ess = effective_size(rows.weights * inverse_weights(rows))
        return Influence("ate", "or", rows.mean(rows.q1 - rows.q0), phi - rows.mean(phi), ess, rows.clipped)


def build(params: Params) -> OutcomeRegression:
    """Return the estimator."""
    del params
    return OutcomeRegression()
