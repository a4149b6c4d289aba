"""Kaplan and Meier's curve of an arm: no adjustment for covariates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from tasks.contract.nuisance import Float64
from tasks.contract.survival import Functional
from tasks.estimation.survival.kaplan_meier import Steps, influence, kaplan_meier
from tasks.estimation.survival.protocol import ArmCase
from tasks.targeting.survival import CurveEstimate


class Params(BaseModel):
    """Kaplan and Meier's estimate has no parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class ProductLimit:
    """Right where treatment and censoring depend on nothing, as in a trial. Exact times, no grid; Greenwood's standard errors."""

    def estimate(self, case: ArmCase, functionals: Sequence[Functional]) -> CurveEstimate:
        """Return the product-limit estimate."""
        here, w = case.data.here, case.data.weights
        time, event = case.time[here], case.event[here]
        steps = kaplan_meier(time, event, w[here])

        def spread(remaining: Float64, until: float) -> Float64:
            values = np.zeros(len(w))
            values[here] = influence(steps, time, event, remaining, until) * w.sum()
            return values

        def of(functional: Functional) -> tuple[float, Float64]:
            until = functional.time
            if functional.estimand == "survival":
                return steps.at(until), spread(np.full(len(steps.times), steps.at(until)), until)
            return float(steps.area(0.0, until)), spread(steps.area(steps.times, until), until)

        points, values = zip(*(of(functional) for functional in functionals))
        curve = np.array([steps.at(edge) for edge in case.grid.edges])
        curve_values = [spread(_constant(steps, s), edge) for edge, s in zip(case.grid.edges, curve)]
        return CurveEstimate(np.array(points), np.column_stack(values), curve, np.column_stack(curve_values), 0.0)


def _constant(steps: Steps, value: float) -> Float64:
    return np.full(len(steps.times), value)


def build(params: Params) -> ProductLimit:
    """Return the estimator."""
    del params
    return ProductLimit()
