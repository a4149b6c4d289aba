"""AIPW of a survival curve: the plug-in of the hazards plus the mean of the efficient influence function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from tasks.contract.survival import Functional
from tasks.estimation.survival.protocol import ArmCase
from tasks.targeting.survival import CurveEstimate, estimate_curve


class Params(BaseModel):
    """AIPW has no parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class AugmentedCurve:
    """Doubly robust: consistent where the event's hazards, or g and the censoring hazards, are.

    Robins, Rotnitzky (1992), DOI 10.1007/978-1-4757-1229-2_14. Curves may rise or leave [0, 1] where weights are large.
    """

    def estimate(self, case: ArmCase, functionals: Sequence[Functional]) -> CurveEstimate:
        """Return the one-step estimate."""
        return estimate_curve(case.data, functionals)


def build(params: Params) -> AugmentedCurve:
    """Return the estimator."""
    del params
    return AugmentedCurve()
