"""Time to event: restricted means, curves and shares of events of the release are the source's."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tasks.checks.evidence import Evidence
from tasks.checks.metric import Metric, gate
from tasks.checks.survival import NumberGap, worst
from tasks.contract.spec import GatesSpec


class Params(BaseModel):
    """No parameters: the thresholds are in ``gates`` of the SPEC."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SurvivalCheck:
    """Compares one-step estimates of both tables, arm by arm: what is lost in one arm can't be made up for in another."""

    def measure(self, evidence: Evidence, gates: GatesSpec) -> list[Metric]:
        """Return the three gates; nothing where the outcome is no time to event."""
        times = evidence.survival
        if times is None:
            return []
        furthest = max(times.numbers, key=lambda each: each.z)
        of_curves, of_events = worst(times.curves), worst(times.events)
        return [
            gate("rmst_fidelity", furthest.z, gates, detail=_describe(furthest)),
            gate("curve_distance", of_curves.excess, gates, detail=_describe(of_curves)),
            gate("event_share", of_events.excess, gates, detail=_describe(of_events)),
        ]


def build(params: Params) -> SurvivalCheck:  # noqa: ARG001 - every method's build takes its Params
    """Return the check."""
    return SurvivalCheck()


def _describe(gap: NumberGap) -> str:
    return f"{gap.name}: {gap.release:.4g} against {gap.source:.4g} in the source, standard error of the difference {gap.se:.3g}"
