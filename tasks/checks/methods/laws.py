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
        laws = evidence.laws
        if laws is None:
            return []
        metrics = [_outcome(laws, gates)]
        if laws.margins:
            name, worst = max(laws.margins, key=lambda each: (each[1].excess, each[1].distance))
            metrics.append(gate("margins", worst.excess, gates, detail=f"'{name}' of {len(laws.margins)} covariates: {_describe(worst)}"))
            metrics.append(Metric("margin_distance", worst.distance, detail=f"of '{name}', sampling included"))
        if laws.missing is None:
            metrics.append(gate("missingness", 0.0, gates, detail="no cell is missing"))
        else:
            where = f"{laws.missing_of}: " if laws.missing_of else ""
            metrics.append(gate("missingness", laws.missing.excess, gates, detail=where + _describe(laws.missing)))
        return metrics


def build(params: Params) -> LawCheck:  # noqa: ARG001 - every method's build takes its Params
    """Return the check."""
    return LawCheck()


def _outcome(laws: LawEvidence, gates: GatesSpec) -> Metric:
    """Judge the worse arm; an arm of too few rows leaves the question open."""
    if len(laws.outcome) < laws.arms:
        return gate("outcome_law", None, gates, detail=f"{laws.arms - len(laws.outcome)} of {laws.arms} arms have too few rows")
    arm, worst = max(laws.outcome, key=lambda each: (each[1].excess, each[1].distance))
    low, value, high = (max(gap.interval[end] for _, gap in laws.outcome) for end in range(3))
    return gate("outcome_law", value, gates, low=low, high=high, detail=f"{arm} arm: {_describe(worst)}")


def _describe(gap: Gap) -> str:
    return f"distance {gap.distance:.4f}; samples of one law are {gap.middle:.4f} apart in the middle, rarely more than {gap.high:.4f}"
