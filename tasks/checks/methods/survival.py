"""Time to event: restricted means, curves and shares of events of the release are the source's."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tasks.checks.evidence import Evidence
from tasks.checks.metric import Metric, gate
from tasks.checks.survival import CauseEvidence, NumberGap, SurvivalEvidence, worst
from tasks.contract.spec import GatesSpec


class Params(BaseModel):
    """No parameters: the thresholds are in ``gates`` of the SPEC."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SurvivalCheck:
    """Compares one-step estimates of both tables, arm by arm: what is lost in one arm can't be made up for in another."""

    def measure(self, evidence: Evidence, gates: GatesSpec) -> list[Metric]:
        """Return the three gates, with competing causes three more; nothing where the outcome is no time to event."""
        times = evidence.survival
        if times is None:
            return []
        metrics = _measured(("rmst_fidelity", "curve_distance", "event_share"), times, gates)
        if times.causes is not None:
            metrics += _measured(("incidence_fidelity", "incidence_distance", "cause_share"), times.causes, gates)
        return metrics


def build(params: Params) -> SurvivalCheck:  # noqa: ARG001 - every method's build takes its Params
    """Return the check."""
    return SurvivalCheck()


def _measured(names: tuple[str, str, str], of: SurvivalEvidence | CauseEvidence, gates: GatesSpec) -> list[Metric]:
    """Measure the gates on numbers, curves and shares of events."""
    furthest = max(of.numbers, key=lambda each: each.z)
    of_curves, of_events = worst(of.curves), worst(of.events)
    values = ((furthest, furthest.z), (of_curves, of_curves.excess), (of_events, of_events.excess))
    return [gate(name, value, gates, detail=_describe(gap)) for name, (gap, value) in zip(names, values, strict=True)]


def _describe(gap: NumberGap) -> str:
    return f"{gap.name}: {gap.release:.4g} against {gap.source:.4g} in the source, standard error of the difference {gap.se:.3g}"
