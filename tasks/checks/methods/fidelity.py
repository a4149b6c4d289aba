"""Fidelity: the effect in the release is the effect in the source."""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict

from tasks.checks.evidence import Evidence
from tasks.checks.metric import Metric, gate
from tasks.contract.spec import GatesSpec
from tasks.numerics.normal import Z95, largest_of


class Params(BaseModel):
    """No parameters: the threshold is in ``gates`` of the SPEC."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FidelityCheck:
    """Compares one efficient estimate on both tables: z = |release - source| / sqrt(se_source^2 + se_release^2).

    Of several effects (pairs of arms, targets, outcomes) it takes the one that differs most, brought to the scale of a single one.
    """

    def measure(self, evidence: Evidence, gates: GatesSpec) -> list[Metric]:
        """Return the gate and the gap; a refusal where an estimate or a standard error is no usable number."""
        fidelity = evidence.fidelity
        if fidelity is None:
            return []
        numbers = (fidelity.ate_source, fidelity.ate_release, fidelity.se_source, fidelity.se_release)
        if not all(math.isfinite(number) for number in numbers) or min(fidelity.se_source, fidelity.se_release) <= 0:
            detail = "an estimate is not finite or a standard error is not above 0: there is nothing to compare"
            return [gate("fidelity", None, gates, refused=True, detail=detail)]
        gap, se = fidelity.ate_release - fidelity.ate_source, math.hypot(fidelity.se_source, fidelity.se_release)
        detail = (
            f"{fidelity.name} {fidelity.ate_release:.6g} (se {fidelity.se_release:.3g}) against "
            f"{fidelity.ate_source:.6g} (se {fidelity.se_source:.3g}) in the source"
        )
        if fidelity.among > 1:
            detail += f"; z = {abs(gap) / se:.3g}, the largest of {fidelity.among} effects, as rare as the value shown is of one"
        metrics = [
            gate("fidelity", largest_of(abs(gap) / se, fidelity.among), gates, detail=detail),
            Metric(
                "effect_gap",
                gap,
                low=gap - Z95 * se,
                high=gap + Z95 * se,
                detail=f"{fidelity.name} of the release minus that of the source",
            ),
        ]
        if fidelity.truth is not None and math.isfinite(fidelity.truth):
            half = Z95 * (fidelity.truth_se or 0.0)
            shift = fidelity.truth - fidelity.ate_source
            metrics.append(
                Metric(
                    "truth_gap",
                    shift,
                    low=shift - half,
                    high=shift + half,
                    detail=f"{fidelity.name} of the released model minus that of the source",
                )
            )
        return metrics


def build(params: Params) -> FidelityCheck:  # noqa: ARG001 - every method's build takes its Params
    """Return the check."""
    return FidelityCheck()
