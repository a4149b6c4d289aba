"""The holdout as a thing that is used up: Thresholdout's answer, and what is left of its budget."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tasks.checks.evidence import Evidence
from tasks.checks.metric import Metric, bound
from tasks.checks.refusal import SPENT
from tasks.contract.spec import GatesSpec


class Params(BaseModel):
    """No parameters: threshold, noise and budget are in ``gates`` of the SPEC."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class HoldoutCheck:
    """Reads what the holdout answered; see :mod:`tasks.contract.budget`."""

    def measure(self, evidence: Evidence, gates: GatesSpec) -> list[Metric]:
        """Return the budget and the answer; nothing where no distances were measured or nobody keeps count."""
        if evidence.distance is None:
            return []
        if gates.holdout_budget is False:
            detail = "nobody counts how often this holdout is asked"
            return [
                Metric("holdout_budget", None, "at least", None, detail=detail),
                Metric("holdout_query", None, "at most", None, detail=detail),
            ]
        if evidence.holdout is None:
            return []
        said, limit = evidence.holdout.answer, bound(gates.holdout_query)
        again = "; asked before: this answer is the one given then, and costs nothing" if said.recorded else ""
        used = f"{max(0, gates.holdout_budget - said.left)} of {gates.holdout_budget} charged before, {said.asked} questions{again}"
        budget = Metric("holdout_budget", float(said.left), "at least", 1.0, detail=used)
        if said.spent:
            return [budget, Metric("holdout_query", None, "at most", limit, refused=True, detail=SPENT)]
        if not said.above:
            return [budget, Metric("holdout_query", 0.0, "at most", limit, detail="seed and holdout agree; the holdout tells no more")]
        # the noisy answer may lie below the threshold that noise put it above: what was told is that it is above
        told = said.value or 0.0
        value = told if limit is None else max(told, limit + gates.holdout_noise)
        return [budget, Metric("holdout_query", value, "at most", limit, detail="standard deviations, with noise: the holdout was asked")]


def build(params: Params) -> HoldoutCheck:  # noqa: ARG001 - every method's build takes its Params
    """Return the check."""
    return HoldoutCheck()
