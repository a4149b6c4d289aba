"""IPCW: the product-limit estimate with rows weighted by the inverse of their chance to be in the arm and uncensored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from tasks.contract.nuisance import Float64
from tasks.contract.survival import Functional
from tasks.estimation.survival.protocol import ArmCase
from tasks.targeting.survival import EDGE, CurveEstimate


class Params(BaseModel):
    """IPCW has no parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class WeightedProductLimit:
    """Hazard of a period: weighted events over the weighted share at risk, weights 1 / (g G).

    Robins, Finkelstein (2000), DOI 10.1111/j.0006-341X.2000.00779.x. Standard errors take the weights as known, which is
    conservative for weights that are estimated.
    """

    def estimate(self, case: ArmCase, functionals: Sequence[Functional]) -> CurveEstimate:
        """Return the weighted product-limit estimate on the grid."""
        data = case.data
        weight = np.where(data.here[:, None], 1.0 / (data.share[:, None] * data.uncensored), 0.0)
        ends, risk = data.mean(weight * data.periods.ends), data.mean(weight * data.periods.risk)
        hazard = np.minimum(ends / np.maximum(risk, EDGE), 1.0 - EDGE)
        curve: Float64 = np.asarray(np.cumprod(1.0 - hazard), dtype=np.float64)
        # d log S(t_j) = - sum over u <= j of w (dN - Y hazard) / (risk (1 - hazard))
        terms = weight * (data.periods.ends - data.periods.risk * hazard) / (np.maximum(risk, EDGE) * (1.0 - hazard))
        curve_values: Float64 = np.asarray(-curve * np.cumsum(terms, axis=1), dtype=np.float64)
        points = np.array([float(functional.value(curve[None])[0]) for functional in functionals])
        values = np.column_stack([curve_values @ functional.weights for functional in functionals])
        return CurveEstimate(points, values, curve, curve_values, 0.0)


def build(params: Params) -> WeightedProductLimit:
    """Return the estimator."""
    del params
    return WeightedProductLimit()
