"""TMLE of a survival curve: hazards that solve the efficient scores of every number at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from tasks.contract.survival import Functional
from tasks.estimation.survival.protocol import ArmCase
from tasks.targeting.survival import CurveEstimate, target_curve


class Params(BaseModel):
    """TMLE has no parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class TargetedCurve:
    """Doubly robust as AIPW is; the curve falls and stays in [0, 1].

    Moore, van der Laan (2009), DOI 10.1002/sim.3672; Cai, van der Laan (2020), DOI 10.1111/biom.13172.
    """

    def estimate(self, case: ArmCase, functionals: Sequence[Functional]) -> CurveEstimate:
        """Return the targeted plug-in."""
        return target_curve(case.data, functionals)


def build(params: Params) -> TargetedCurve:
    """Return the estimator."""
    del params
    return TargetedCurve()
