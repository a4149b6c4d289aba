"""Laws: the outcome in each arm, every covariate, and the patterns of missing cells follow the source's laws."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tasks.checks.evidence import Evidence
from tasks.checks.laws import Gap, LawEvidence
from tasks.checks.metric import Metric, gate
from tasks.contract.spec import GatesSpec


class Params(BaseModel):
    """No parameters: the thresholds are in ``gates`` of the SPEC."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LawCheck:
    """Judges distances of laws beyond what sampling explains."""

    def measure(self, evidence: Evidence, gates: GatesSpec) -> list[Metric]:
        """Return the three gates and the largest distances as they are; nothing where laws were not compared."""
        found = evidence.laws
        if found is None:
            return []
        metrics = [_outcome(found, gates)]
        if found.margins:
            name, worst = max(found.margins, key=lambda each: (each[1].excess, each[1].distance))
            metrics.append(gate("margins", worst.excess, gates, detail=f"'{name}' of {len(found.margins)} covariates: {_told(worst)}"))
            metrics.append(Metric("margin_distance", worst.distance, detail=f"of '{name}', sampling included"))
        if found.missing is None:
            metrics.append(gate("missingness", 0.0, gates, detail="no cell is missing"))
        else:
            metrics.append(gate("missingness", found.missing.excess, gates, detail=_told(found.missing)))
        return metrics


def build(params: Params) -> LawCheck:  # noqa: ARG001 - every method's build takes its Params
    """Return the check."""
    return LawCheck()


def _outcome(found: LawEvidence, gates: GatesSpec) -> Metric:
    """Judge the worse arm; an arm of too few rows leaves the question open."""
    if len(found.outcome) < found.arms:
        return gate("outcome_law", None, gates, detail=f"{found.arms - len(found.outcome)} of {found.arms} arms have too few rows")
    arm, worst = max(found.outcome, key=lambda each: (each[1].excess, each[1].distance))
    low, value, high = (max(gap.interval[end] for _, gap in found.outcome) for end in range(3))
    return gate("outcome_law", value, gates, low=low, high=high, detail=f"{arm} arm: {_told(worst)}")


def _told(gap: Gap) -> str:
    return f"distance {gap.distance:.4f}; samples of one law are {gap.middle:.4f} apart in the middle, hardly more than {gap.high:.4f}"
