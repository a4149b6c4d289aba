"""The holdout as a thing that is used up: Thresholdout's answer, and what is left of its budget."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tasks.checks.evidence import Evidence
from tasks.checks.metric import Metric, gate
from tasks.checks.refusal import SPENT
from tasks.contract.spec import GatesSpec


class Params(BaseModel):
    """No parameters: threshold, noise and budget are in ``gates`` of the SPEC."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class HoldoutCheck:
    """Reads what the holdout answered; see :mod:`tasks.contract.budget`."""

    def measure(self, evidence: Evidence, gates: GatesSpec) -> list[Metric]:
        """Return the budget and the answer; nothing where no distances were measured or no ledger is kept."""
        if evidence.distance is None:
            return []
        if gates.holdout_budget is False:
            detail = "queries to this holdout are not counted"
            off = gates.model_copy(update={"holdout_query": False})
            return [gate(name, None, off, detail=detail) for name in ("holdout_budget", "holdout_query")]
        if evidence.holdout is None:
            return []
        said = evidence.holdout.answer
        again = "; asked before: this answer is the one given then, and costs nothing" if said.recorded else ""
        used = f"{max(0, gates.holdout_budget - said.left)} of {gates.holdout_budget} charged before, {said.earlier} questions{again}"
        budget = gate("holdout_budget", float(said.left), gates, detail=used)
        if said.spent:
            return [budget, gate("holdout_query", None, gates, refused=True, detail=SPENT)]
        if not said.above:
            return [budget, gate("holdout_query", 0.0, gates, detail="training rows and holdout agree; no further answer is given")]
        # the noisy answer may lie below the noisy threshold; the recorded decision is that it is above
        answer, limit = said.value or 0.0, gates.limit("holdout_query")
        value = answer if limit is None else max(answer, limit + gates.holdout_noise)
        return [budget, gate("holdout_query", value, gates, detail="standard deviations, with noise: one query was charged")]


def build(params: Params) -> HoldoutCheck:  # noqa: ARG001 - every method's build takes its Params
    """Return the check."""
    return HoldoutCheck()
