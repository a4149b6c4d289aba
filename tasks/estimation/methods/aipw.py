"""AIPW: augmented inverse-probability weighting on cross-fitted nuisances."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from tasks.targeting.influence import Influence, InfluenceEstimator, effective_size, inverse_weights, pseudo_outcomes
from tasks.targeting.sample import Rows


class Params(BaseModel):
    """AIPW has no parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class AugmentedWeighting(InfluenceEstimator):
    """ATE = mean(phi), SE = sd(phi) / sqrt(n), with phi of :func:`tasks.targeting.influence.pseudo_outcomes`.

    Cross-fitted AIPW is the double machine learning estimator of the interactive model: Chernozhukov et al. (2018),
    DOI 10.1111/ectj.12097.
    """

    def influence(self, rows: Rows) -> Influence:
        """Return the mean of phi and its deviations."""
        phi = pseudo_outcomes(rows)
        point = rows.mean(phi)
        ess = effective_size(rows.weights * inverse_weights(rows))
        return Influence("ate", "aipw", point, phi - point, ess, rows.clipped)


def build(params: Params) -> AugmentedWeighting:
    """Return the estimator."""
    del params
    return AugmentedWeighting()
