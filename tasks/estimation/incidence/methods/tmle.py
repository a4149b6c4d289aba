"""TMLE of one cause's incidence: hazards of all causes that solve the efficient scores of every number at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from tasks.contract.survival import Functional
from tasks.estimation.incidence.protocol import CauseCase
from tasks.targeting.causes import target_incidence
from tasks.targeting.survival import CurveEstimate


class Params(BaseModel):
    """TMLE has no parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class TargetedIncidence:
    """Doubly robust as AIPW is; incidences rise and stay in [0, 1].

    Rytgaard, van der Laan (2024), DOI 10.1007/s10985-022-09576-2.
    """

    def estimate(self, case: CauseCase, functionals: Sequence[Functional]) -> CurveEstimate:
        """Return the targeted plug-in."""
        return target_incidence(case.data, functionals)


def build(params: Params) -> TargetedIncidence:
    """Return the estimator."""
    del params
    return TargetedIncidence()
