"""Calibration: the generator was near enough to the source for its pool to be balanced, not bent."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tasks.checks.evidence import Evidence
from tasks.checks.metric import Metric, gate
from tasks.contract.spec import GatesSpec


class Params(BaseModel):
    """No parameters: the threshold is in ``gates`` of the SPEC."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CalibrationCheck:
    """How far calibration had to give up: 0 where the pool met every mean of the source, 1 where it met none."""

    def measure(self, evidence: Evidence, gates: GatesSpec) -> list[Metric]:
        """Return the gate and the effective pool share, none where the release was not calibrated."""
        balance = evidence.calibration
        if balance is None:
            return []
        detail = f"{balance.ess:.1%} of the drawn pool is effectively used, {balance.capped:.1%} of its rows are held at the largest weight"
        return [
            gate("calibration", balance.relaxed, gates, detail=detail),
            Metric("pool_share", balance.ess, detail="effective share of the covariate pool under the calibration weights"),
        ]


def build(params: Params) -> CalibrationCheck:  # noqa: ARG001 - every method's build takes its Params
    """Return the check."""
    return CalibrationCheck()
