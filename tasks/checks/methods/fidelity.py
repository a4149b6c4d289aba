"""Fidelity: the effect in the release is the effect in the source."""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict

from tasks.checks.evidence import Evidence
from tasks.checks.metric import Metric, gate
from tasks.contract.spec import GatesSpec
from tasks.numerics.normal import Z95


class Params(BaseModel):
    """No parameters: the threshold is in ``gates`` of the SPEC."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FidelityCheck:
    """Compares one efficient estimate on both tables: z = |release - source| / sqrt(se_source^2 + se_release^2)."""

    def measure(self, evidence: Evidence, gates: GatesSpec) -> list[Metric]:
        """Return the gate and the gap; a refusal where an estimate or a standard error is no usable number."""
        found = evidence.fidelity
        if found is None:
            return []
        numbers = (found.ate_source, found.ate_release, found.se_source, found.se_release)
        if not all(math.isfinite(number) for number in numbers) or min(found.se_source, found.se_release) <= 0:
            detail = "an estimate is not finite or a standard error is not above 0: there is nothing to compare"
            return [gate("fidelity", None, gates, refused=True, detail=detail)]
        gap, se = found.ate_release - found.ate_source, math.hypot(found.se_source, found.se_release)
        detail = (
            f"ATE {found.ate_release:.6g} (se {found.se_release:.3g}) against "
            f"{found.ate_source:.6g} (se {found.se_source:.3g}) in the source"
        )
        metrics = [
            gate("fidelity", abs(gap) / se, gates, detail=detail),
            Metric("effect_gap", gap, low=gap - Z95 * se, high=gap + Z95 * se, detail="ATE of the release minus ATE of the source"),
        ]
        if found.truth is not None and math.isfinite(found.truth):
            half = Z95 * (found.truth_se or 0.0)
            shift = found.truth - found.ate_source
            metrics.append(
                Metric("truth_gap", shift, low=shift - half, high=shift + half, detail="ATE of the released model minus ATE of the source")
            )
        return metrics


def build(params: Params) -> FidelityCheck:  # noqa: ARG001 - every method's build takes its Params
    """Return the check."""
    return FidelityCheck()
