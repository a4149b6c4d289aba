"""AIPW of one cause's incidence: the plug-in of both hazards plus the mean of the efficient influence function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from tasks.contract.survival import Functional
from tasks.estimation.incidence.protocol import CauseCase
from tasks.targeting.causes import estimate_incidence
from tasks.targeting.survival import CurveEstimate


class Params(BaseModel):
    """AIPW has no parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class AugmentedIncidence:
    """Doubly robust: consistent where the hazards of all causes, or g and the censoring hazards, are."""

    def estimate(self, case: CauseCase, functionals: Sequence[Functional]) -> CurveEstimate:
        """Return the one-step estimate."""
        return estimate_incidence(case.data, functionals)


def build(params: Params) -> AugmentedIncidence:
    """Return the estimator."""
    del params
    return AugmentedIncidence()
