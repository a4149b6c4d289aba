"""Aalen and Johansen's incidence of an arm: no adjustment for covariates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from tasks.contract.nuisance import Float64
from tasks.contract.survival import Functional
from tasks.estimation.incidence.aalen_johansen import aalen_johansen, cause_influence
from tasks.estimation.incidence.protocol import CauseCase
from tasks.targeting.survival import CurveEstimate


class Params(BaseModel):
    """Aalen and Johansen's estimate has no parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class ProductIncidence:
    """Right where treatment and censoring depend on nothing, as in a trial. Exact times, no grid."""

    def estimate(self, case: CauseCase, functionals: Sequence[Functional]) -> CurveEstimate:
        """Return the estimate of Aalen and Johansen."""
        here, w = case.data.here, case.data.weights
        time, cause = case.time[here], case.cause[here]
        steps = aalen_johansen(time, cause, w[here])

        def spread(until: float, area: bool) -> Float64:
            values = np.zeros(len(w))
            values[here] = cause_influence(steps, time, cause, until, area) * w.sum()
            return values

        lost = [functional.estimand == "time_lost" for functional in functionals]
        until = [functional.time for functional in functionals]
        points = np.array([float(steps.area(0.0, end)) if area else steps.at(end) for end, area in zip(until, lost)])
        values = np.column_stack([spread(end, area) for end, area in zip(until, lost)])
        curve = np.array([steps.at(edge) for edge in case.grid.edges])
        return CurveEstimate(points, values, curve, np.column_stack([spread(edge, False) for edge in case.grid.edges]), 0.0)


def build(params: Params) -> ProductIncidence:
    """Return the estimator."""
    del params
    return ProductIncidence()
