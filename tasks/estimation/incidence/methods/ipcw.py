"""IPCW: Aalen and Johansen's estimate with rows weighted by the inverse of their chance to be in the arm and uncensored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from tasks.contract.survival import Functional, incidence_at
from tasks.estimation.incidence.protocol import CauseCase
from tasks.targeting.causes import curves_of, gradients
from tasks.targeting.survival import EDGE, CurveEstimate


class Params(BaseModel):
    """IPCW has no parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class WeightedIncidence:
    """Hazards of a period: weighted events over the weighted share at risk, weights 1 / (g G).

    Standard errors take the weights as known, which is conservative for weights that are estimated.
    """

    def estimate(self, case: CauseCase, functionals: Sequence[Functional]) -> CurveEstimate:
        """Return the weighted estimate on the grid."""
        data = case.data
        weight = np.where(data.here[:, None], 1.0 / (data.share[:, None] * data.uncensored), 0.0)
        risk, ends = data.periods[0].risk, np.stack([periods.ends for periods in data.periods])
        at_risk = np.maximum(data.mean(weight * risk), EDGE)
        hazards = np.stack([data.mean(weight * each) for each in ends])[:, None] / at_risk
        hazards = hazards * np.minimum(1.0, (1.0 - EDGE) / np.maximum(hazards.sum(axis=0), EDGE))
        curves = curves_of(hazards)
        # d F = sum over u of S(u - 1) H_k(u) d l_k(u), with d l_k = w (dN_k - Y l_k) / at risk
        terms = weight * (ends - risk * hazards) / at_risk * np.append(1.0, curves.free[0, :-1])
        of_times = [incidence_at(case.grid, edge) for edge in case.grid.edges]
        values, curve_values = (
            np.column_stack([np.sum(gradients(curves, each) * terms, axis=(0, 2)) for each in wanted]) for wanted in (functionals, of_times)
        )
        points = np.array([float(functional.value(curves.incidence)[0]) for functional in functionals])
        return CurveEstimate(points, values, curves.incidence[0], curve_values, 0.0)


def build(params: Params) -> WeightedIncidence:
    """Return the estimator."""
    del params
    return WeightedIncidence()
